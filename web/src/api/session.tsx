/** Who is here, and what they may. */
import { useQueryClient } from '@tanstack/react-query';
import { createContext, type ReactNode, use, useEffect } from 'react';
import { useText } from '@/i18n/language';
import { text } from '@/i18n/text';
import { onSessionLost, setCsrf } from './http';
import { useGet } from './query';
import type { Access, CanAnswer, Kind, Session, Verb } from './types';

const Present = createContext<Session | undefined>(undefined);

/** The session; only inside of pages, where somebody is signed in. */
export function useSession(): Session {
  const session = use(Present);
  if (!session) throw new Error('there is no session here');
  return session;
}

/** Asks who is here. */
export function useWhoIsHere() {
  const session = useGet<Session>('/session', undefined, { staleTime: 60_000, refetchInterval: 300_000 });
  setCsrf(session.data?.csrf);
  return session;
}

export function SessionProvider({ session, children }: { session: Session; children: ReactNode }) {
  const queries = useQueryClient();
  useEffect(() => onSessionLost(() => void queries.invalidateQueries({ queryKey: ['/session'] })), [queries]);
  return <Present value={session}>{children}</Present>;
}

const texts = text({
  noRole: ['No role of yours allows you to {verb} here: {kind}', '您的角色不允许在此执行 {verb}：{kind}'],
});

export interface May {
  allowed: boolean;
  /** Why not (or by which role), for a tooltip. */
  reason: string;
}

/**
 * Whether the reader may do something: to objects of a kind at all, or to one of them if it is named.
 * The engine decides in the end; this hides and disables what it would refuse.
 */
export function useCan(verb: Verb, kind: Kind | string, namespace?: string, name?: string): May {
  const t = useText(texts);
  const access = useGet<Access>('/access', undefined, { staleTime: 60_000 });
  const atAll = access.data ? access.data.isAdmin || (access.data.verbs[kind] ?? []).includes(verb) : false;
  const asks = atAll && !access.data?.isAdmin && name !== undefined;
  const can = useGet<CanAnswer>('/can', { verb, kind, namespace: namespace ?? 'default', name }, { enabled: asks, staleTime: 60_000 });
  if (!atAll) return { allowed: false, reason: access.data ? t('noRole', { verb, kind }) : '' };
  if (asks && can.data) return { allowed: can.data.allowed, reason: can.data.reason };
  return { allowed: true, reason: '' };
}
