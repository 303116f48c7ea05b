import { Button, Spin } from 'antd';
import { type ComponentType, type LazyExoticComponent, lazy, Suspense } from 'react';
import { Link, useLocation } from 'react-router';
import { Nothing } from '@/components/Nothing';
import frame from '@/i18n/frame';
import { useText } from '@/i18n/language';
import { load, ROUTES } from '@/routes';
import { Boundary } from './Boundary';

const PAGES: Readonly<Record<string, LazyExoticComponent<ComponentType>>> = Object.fromEntries(
  ROUTES.map(({ page }) => [page, lazy(() => load(page))]),
);

/** A page, its code being fetched first. */
export function Opened({ page }: { page: string }) {
  const { pathname } = useLocation();
  const Shown = PAGES[page];
  return Shown ? (
    <Boundary at={pathname}>
      <Suspense fallback={<Waiting />}>
        <Shown key={pathname} />
      </Suspense>
    </Boundary>
  ) : <Lost />;
}

export function Waiting() {
  const t = useText(frame);
  return (
    <div className="ek-waiting" role="status" aria-label={t('loading')}>
      <Spin delay={200} />
    </div>
  );
}

/** An address that leads nowhere. */
export function Lost() {
  const t = useText(frame);
  return (
    <Nothing title={t('notFound')} hint={t('notFoundHint')} action={<Link to="/"><Button type="primary">{t('home')}</Button></Link>} />
  );
}
