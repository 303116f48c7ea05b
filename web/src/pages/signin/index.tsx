import { Alert, Button, Divider } from 'antd';
import { useEffect, useState } from 'react';
import { Navigate, useLocation, useNavigate } from 'react-router';
import { renew, client } from '@/api/query';
import type { Session } from '@/api/types';
import { Nothing } from '@/components/Nothing';
import { useText } from '@/i18n/language';
import { LanguageSwitch, ThemeSwitch } from '@/layout/header';
import { Mark } from '@/layout/Mark';
import { ownPath } from '@/lib/address';
import { FirstForm, InvitedForm, PasswordForm } from './forms';
import './signin.css';
import texts from './text';
import { readWay } from './way';

/** The way in: a password, a provider, the first administrator, an invitation. */
export default function SignIn({ session }: { session: Session }) {
  const t = useText(texts);
  const { hash, search, pathname } = useLocation();
  const go = useNavigate();
  const [way] = useState(() => readWay(hash, search));
  useEffect(() => {
    document.title = `${t('title')} · Evenkeel`;
    // A one-time token is not left in the address, nor in the history of the browser.
    if (hash) void go({ pathname, search }, { replace: true });
  }, [t, hash, go, pathname, search]);
  const next = pathname === '/sign-in' ? ownPath(way.next) : ownPath(pathname + search);
  if (session.signedIn) return <Navigate to={next} replace />;
  const done = (now: Session | undefined) => {
    if (now?.signedIn) client.setQueryData(['/session'], now);
    renew(client, ['/session']);
    void go(next, { replace: true });
  };
  return (
    <main className="ek-door" id="content">
      <div className="ek-door-tools"><LanguageSwitch /><ThemeSwitch /></div>
      <div className="ek-door-card">
        <div className="ek-door-brand"><Mark size={40} /><span>Evenkeel</span></div>
        <p className="ek-dim">{t('claim')}</p>
        {way.problem && <Alert type="error" showIcon role="alert" title={t('refused')} description={<span className="ek-pre">{way.problem}</span>} />}
        {session.needsFirstUser ? <FirstForm token={way.token} onDone={done} /> : way.invitation ? <InvitedForm way={way} onDone={done} /> : <Ways session={session} next={next} onDone={done} />}
      </div>
      <Sea />
    </main>
  );
}

function Ways({ session, next, onDone }: { session: Session; next: string; onDone: (now: Session) => void }) {
  const t = useText(texts);
  const local = session.providers.some(({ id }) => id === 'local');
  const others = session.providers.filter(({ id, url }) => id !== 'local' && url?.startsWith('/'));
  if (!local && others.length === 0) return <Nothing title={t('noWay')} hint={t('noWayHint')} />;
  return (
    <>
      <h1>{t('title')}</h1>
      {local && <PasswordForm onDone={onDone} />}
      {local && others.length > 0 && <Divider plain>{t('or')}</Divider>}
      {others.map((provider) => (
        <Button key={provider.id} block size="large" href={`${provider.url}?next=${encodeURIComponent(next)}`}>
          {t('with', { title: provider.title ?? provider.id })}
        </Button>
      ))}
    </>
  );
}

function Sea() {
  return (
    <svg className="ek-sea" viewBox="0 0 1200 120" preserveAspectRatio="none" aria-hidden="true">
      <path d="M0 60c100 0 100-24 200-24s100 24 200 24 100-24 200-24 100 24 200 24 100-24 200-24 100 24 200 24v60H0z" opacity=".10" />
      <path d="M0 80c75 0 75-18 150-18s75 18 150 18 75-18 150-18 75 18 150 18 75-18 150-18 75 18 150 18 75-18 150-18 75 18 150 18v40H0z" opacity=".14" />
    </svg>
  );
}
