/** What a page shows is in its address: it can be sent to somebody, and the way back leads there. */
import { useCallback } from 'react';
import { useSearchParams } from 'react-router';

/** `const [site, setSite] = useParam('site')`; empty is not in the address. Setting replaces, so that "back" leaves the page. */
export function useParam(key: string, usual = ''): [string, (value: string) => void] {
  const [parameters, setParameters] = useSearchParams();
  const set = useCallback(
    (value: string) =>
      setParameters(
        (before) => {
          const next = new URLSearchParams(before);
          if (value === usual) next.delete(key);
          else next.set(key, value);
          return next;
        },
        { replace: true },
      ),
    [key, usual, setParameters],
  );
  return [parameters.get(key) ?? usual, set];
}

/** The same for several values, joined by commas. */
export function useParamList(key: string): [string[], (values: string[]) => void] {
  const [text, setText] = useParam(key);
  const set = useCallback((values: string[]) => setText(values.join(',')), [setText]);
  return [text ? text.split(',') : [], set];
}

/** Only own paths: what is after signing in must not lead elsewhere. */
export function ownPath(next: string | null): string {
  if (!next?.startsWith('/') || next.startsWith('//') || next.startsWith('/\\') || /[\u0000-\u001f\\]/.test(next)) return '/';
  return next.startsWith('/sign-in') || next.startsWith('/api/') ? '/' : next;
}
