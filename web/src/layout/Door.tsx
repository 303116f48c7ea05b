import { Suspense, lazy } from 'react';
import { Route, Routes, useLocation } from 'react-router';
import { LiveProvider } from '@/api/live';
import { SessionProvider, useWhoIsHere } from '@/api/session';
import { Problem } from '@/components/Problem';
import { ROUTES } from '@/routes';
import { Frame } from './Frame';
import { Lost, Opened, Waiting } from './Opened';

const SignIn = lazy(() => import('@/pages/signin'));

/** Whoever is not signed in sees the way in, and afterwards what they asked for. */
export function Door() {
  const session = useWhoIsHere();
  const { pathname } = useLocation();
  if (session.data === undefined) {
    return session.error ? <main className="ek-door"><Problem error={session.error} retry={() => void session.refetch()} /></main> : <Waiting />;
  }
  if (!session.data.signedIn || pathname === '/sign-in') {
    return (
      <Suspense fallback={<Waiting />}>
        <SignIn session={session.data} />
      </Suspense>
    );
  }
  return (
    <SessionProvider session={session.data}>
      <LiveProvider>
        <Frame>
          <Routes>
            {ROUTES.map(({ path, page }) => (
              <Route key={path} path={path} element={<Opened page={page} />} />
            ))}
            <Route path="*" element={<Lost />} />
          </Routes>
        </Frame>
      </LiveProvider>
    </SessionProvider>
  );
}
