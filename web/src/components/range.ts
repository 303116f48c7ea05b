/** Which span of time charts show: the last so much, or from and to. In the address as `range=6h` or `from=…&to=…` (seconds since 1970). */
import { useCallback, useMemo } from 'react';
import { useSearchParams } from 'react-router';
import { useNow } from './Time';

export const SPANS: Readonly<Record<string, number>> = {
  '15m': 900, '1h': 3_600, '6h': 21_600, '24h': 86_400, '7d': 604_800, '30d': 2_592_000,
};

export interface Range {
  from: number;
  to: number;
  /** `6h`, or empty where both ends are fixed. */
  last: string;
}

/** Reads a span from what the address says; nonsense is the usual one. */
export function readRange(parameters: URLSearchParams, now: number, usual: string): Range {
  const [from, to] = [Number(parameters.get('from')), Number(parameters.get('to'))];
  if (Number.isFinite(from) && Number.isFinite(to) && from > 0 && to > from) return { from, to, last: '' };
  const asked = parameters.get('range') ?? '';
  const last = asked in SPANS ? asked : usual;
  const length = SPANS[last] ?? 21_600;
  // On a grid, so that what is asked for is the same for a while and can be kept.
  const step = Math.max(10, Math.round(length / 300));
  const end = Math.ceil(now / 1000 / step) * step;
  return { from: end - length, to: end, last };
}

/** The span that the address says, and how to choose another one. */
export function useRange(usual = '6h') {
  const [parameters, setParameters] = useSearchParams();
  const now = useNow();
  const read = readRange(parameters, now, usual);
  const { from, to, last } = read;
  const range = useMemo(() => ({ from, to, last }), [from, to, last]);
  const choose = useCallback(
    (chosen: { last: string } | { from: number; to: number }) =>
      setParameters(
        (before) => {
          const next = new URLSearchParams(before);
          for (const key of ['range', 'from', 'to']) next.delete(key);
          if ('last' in chosen) {
            if (chosen.last !== usual) next.set('range', chosen.last);
          } else {
            next.set('from', String(Math.floor(chosen.from)));
            next.set('to', String(Math.ceil(chosen.to)));
          }
          return next;
        },
        { replace: true },
      ),
    [setParameters, usual],
  );
  const zoom = useCallback((from: number, to: number) => choose({ from, to }), [choose]);
  return { range, choose, zoom };
}
