import { useCallback, useMemo } from 'react';
import { useSearchParams } from 'react-router';
import type { Query } from '@/api/http';
import { type Range, rangeOf, rangeParams } from './range';

/** What is looked for; all of it is in the address. */
export type Filters = { q: string; device: string; severity: string; program: string; template: string; unknown: string; range: Range };

/** Stands for senders that are no device. */
const NOBODY = '-';

const WORDS = ['q', 'device', 'severity', 'program', 'template', 'unknown'] as const;

/** The filters, and how to set some of them. */
export function useFilters(): [Filters, (next: Partial<Filters> & { view?: string }) => void] {
  const [params, setParams] = useSearchParams();
  const filters = useMemo(() => {
    const words = Object.fromEntries(WORDS.map((word) => [word, params.get(word) ?? ''])) as Record<(typeof WORDS)[number], string>;
    return { ...words, range: rangeOf(params) };
  }, [params]);
  const set = useCallback(
    (next: Partial<Filters> & { view?: string }) =>
      // Each search is a place of its own: the way back leads to the one before.
      setParams((before) => {
        const after = new URLSearchParams(before);
        const put = (key: string, value: string | undefined): void => (value ? after.set(key, value) : after.delete(key));
        for (const word of WORDS) if (next[word] !== undefined) put(word, next[word]);
        if (next.view !== undefined) put('view', next.view === 'lines' ? '' : next.view);
        if (next.range) {
          const written = rangeParams(next.range);
          for (const key of ['range', 'since', 'until'] as const) put(key, written[key]);
        }
        return after;
      }),
    [setParams],
  );
  return [filters, set];
}

/** What the server is asked for, but for the range. */
export function asked({ q, device, severity, program, template, unknown }: Filters): Query {
  return { q, device: unknown === '' ? device : NOBODY, severity, program, template };
}

/** Whether anything but the range narrows it. */
export function isNarrowed(filters: Filters): boolean {
  return WORDS.some((word) => filters[word] !== '');
}
