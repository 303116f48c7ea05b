import { useQueryClient } from '@tanstack/react-query';
import { lazy, Suspense, useEffect } from 'react';
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
  const queries = useQueryClient();
  const isOut = session.data?.signedIn === false;
  useEffect(() => {
    // Whoever comes next must not see what was read for somebody else.
    if (isOut) queries.removeQueries({ predicate: ({ queryKey: [path] }) => path !== '/session' });
  }, [isOut, queries]);
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
