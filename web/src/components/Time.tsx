import { Tooltip } from 'antd';
import { useSyncExternalStore } from 'react';
import { useLanguage } from '@/i18n/language';
import { ago, both, clock } from '@/lib/time';

let now = Date.now();
const listeners = new Set<() => void>();
let timer: number | undefined;

/** One clock for all that is shown: it ticks each ten seconds, and only while something looks at it. */
function listen(listener: () => void): () => void {
  listeners.add(listener);
  now = Date.now();
  timer ??= window.setInterval(() => {
    now = Date.now();
    for (const told of listeners) told();
  }, 10_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      window.clearInterval(timer);
      timer = undefined;
    }
  };
}

const clocked = () => now;

export function useNow(): number {
  return useSyncExternalStore(listen, clocked, clocked);
}

interface Props {
  at: string | number | null | undefined;
  /** `4m ago` instead of the clock's time. */
  relative?: boolean;
  /** Shown where there is no time. */
  none?: string;
}

/** A time in the reader's zone; in UTC (and exactly) on hover and on focus. Seconds since 1970 or RFC 3339. */
export function Time({ at, relative = false, none = '–' }: Props) {
  const { language } = useLanguage();
  const seen = useNow();
  if (at === null || at === undefined || at === '') return <span className="ek-dim">{none}</span>;
  const date = new Date(typeof at === 'number' && at < 1e11 ? at * 1000 : at);
  if (Number.isNaN(date.getTime())) return <span>{String(at)}</span>;
  return (
    <Tooltip title={<span className="ek-num">{both(date)}</span>}>
      <time dateTime={date.toISOString()} className="ek-num ek-time">
        {relative ? ago(date, seen, language) : clock(date)}
      </time>
    </Tooltip>
  );
}
