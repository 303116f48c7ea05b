/** Keeps what is on the screen as it is in the engine: by its change feed, or by asking again while there is none. */
import { type Query, useQueryClient } from '@tanstack/react-query';
import { createContext, type ReactNode, use, useEffect, useState } from 'react';
import { whileSeen } from '@/lib/seen';
import { NOTHING, parseChange, take, touches } from './feed';
import { BASE } from './http';

export type LiveState = 'live' | 'connecting' | 'polling';

/** Milliseconds over which changes are gathered: a rollout over a large fleet makes hundreds in a second. */
const GATHER = 1_000;
/** Milliseconds between two readings of what changed, however much changes. */
const APART = 2_000;
/** Pages of a list; one of which more were read is read anew only each so many milliseconds: it is many questions at once. */
const FEW_PAGES = 3;
const LONG_APART = 15_000;
/** Milliseconds between questions while there is no feed, and until it is tried again. */
const POLL = 15_000;

const Live = createContext<LiveState>('connecting');

export function useLive(): LiveState {
  return use(Live);
}

/** Whether what was read may be read anew already. */
function mayRead({ data, dataUpdatedAt }: { data?: unknown; dataUpdatedAt: number }): boolean {
  const pages = (data as { pages?: unknown[] } | undefined)?.pages;
  return !Array.isArray(pages) || pages.length <= FEW_PAGES || Date.now() - dataUpdatedAt > LONG_APART;
}

export function LiveProvider({ children }: { children: ReactNode }) {
  const queries = useQueryClient();
  const [state, setState] = useState<LiveState>('connecting');
  useEffect(() => {
    let pending = NOTHING;
    let timer: number | undefined;
    let again: number | undefined;
    let source: EventSource | undefined;
    let missed = false;
    let settled = 0;
    const settle = () => {
      timer = undefined;
      const now = pending;
      pending = NOTHING;
      settled = Date.now();
      let isBusy = false;
      const predicate = ({ queryKey: [path], state }: Query) => {
        if (typeof path !== 'string' || path === '/session' || !touches(now, path) || !mayRead(state)) return false;
        // What is being read just now may be from before the change; it is not broken off, but read once more afterwards.
        isBusy ||= state.fetchStatus === 'fetching';
        return true;
      };
      void queries.invalidateQueries({ predicate }, { cancelRefetch: false });
      if (isBusy) {
        pending = now;
        timer = window.setTimeout(settle, APART);
      }
    };
    const on = (event: Parameters<typeof take>[1]) => {
      pending = take(pending, event);
      timer ??= window.setTimeout(settle, Math.max(GATHER, settled + APART - Date.now()));
    };
    const connect = () => {
      source = new EventSource(`${BASE}/events`);
      source.onopen = () => {
        setState('live');
        // A feed that was begun anew does not know what was missed; one that goes on is resumed by its Last-Event-ID.
        if (missed) on({ type: 'reset' });
        missed = false;
      };
      source.addEventListener('change', (event: MessageEvent<string>) => {
        const change = parseChange(event.data);
        if (change) on({ type: 'change', change });
      });
      source.addEventListener('reset', () => on({ type: 'reset' }));
      source.onerror = () => {
        if (source?.readyState === EventSource.CLOSED) {
          missed = true;
          setState('polling');
          again = window.setTimeout(connect, POLL);
        } else setState('connecting');
      };
    };
    const stop = whileSeen(() => {
      connect();
      return () => {
        source?.close();
        window.clearTimeout(again);
        missed = true;
        setState('connecting');
      };
    });
    const poll = window.setInterval(() => {
      if (source?.readyState !== EventSource.OPEN && !document.hidden) on({ type: 'reset' });
    }, POLL);
    return () => {
      stop();
      window.clearInterval(poll);
      window.clearTimeout(timer);
    };
  }, [queries]);
  return <Live value={state}>{children}</Live>;
}
