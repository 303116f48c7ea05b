import { Breadcrumb } from 'antd';
import { type ReactNode, useEffect } from 'react';
import { Link } from 'react-router';

interface Props {
  /** Of the page and of the document. */
  title: string;
  /** Beside the title: a state, a count. */
  beside?: ReactNode;
  /** One line below it. */
  about?: ReactNode;
  /** The way here, without the page itself. */
  crumbs?: { title: string; to: string }[];
  /** Its own name at the end of that way, where the title is a whole sentence. */
  here?: string;
  /** Buttons. */
  actions?: ReactNode;
  children: ReactNode;
}

/** A page: where it is, what it is called, what can be done, and then its parts. */
export function Page({ title, beside, about, crumbs, here = title, actions, children }: Props) {
  useEffect(() => {
    document.title = `${title} · Evenkeel`;
  }, [title]);
  return (
    <div className="ek-page">
      {crumbs && crumbs.length > 0 && (
        <Breadcrumb items={[...crumbs.map((crumb) => ({ title: <Link to={crumb.to}>{crumb.title}</Link> })), { title: here }]} />
      )}
      <header className="ek-page-head">
        <div className="ek-page-title">
          <h1>{title}</h1>
          {beside}
        </div>
        {actions && <div className="ek-actions">{actions}</div>}
      </header>
      {about && <div className="ek-about">{about}</div>}
      {children}
    </div>
  );
}

/** A part of a page, with a heading. */
export function Part({ title, extra, children, flush = false, className = '' }: { title?: ReactNode; extra?: ReactNode; children: ReactNode; flush?: boolean; className?: string }) {
  return (
    <section className={`ek-part ${className}`}>
      {(title || extra) && (
        <header className="ek-part-head">
          <h2>{title}</h2>
          {extra && <div className="ek-actions">{extra}</div>}
        </header>
      )}
      <div className={flush ? 'ek-part-flush' : 'ek-part-body'}>{children}</div>
    </section>
  );
}
