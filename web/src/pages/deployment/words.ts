/** What the engine says in its own words of waiting, said again in the reader's language where that is known. */
import type { Language, Say } from '@/i18n/text';
import { waitKind } from '../deployments/lanes';
import type { Wait } from '../deployments/types';
import type texts from './text';

type T = Say<typeof texts>;

const KINDS = new Set(['Unreachable', 'Budget', 'Window', 'Approval', 'Soak', 'Health', 'Alert', 'Dependency', 'Lock', 'Maintenance', 'NoWayBack', 'Suspended']);

/** Who or what can end it. The engine knows best: its words are taken where they are in the reader's language. */
export function clearedBy(wait: Wait, language: Language, t: T): string {
  const kind = waitKind(wait);
  if (language === 'en' && wait.clearedBy && kind !== 'Approval') return wait.clearedBy;
  return KINDS.has(kind) ? t(`clear${kind}` as Parameters<T>[0]) : wait.clearedBy;
}

/** What is wanted, such as `open batch 2 (3 of 12 left): a, b, c`. */
export function wanted(wants: string, t: T): { said: string; names: string } {
  const some = /^open batch (\d+) \((\d+) of (\d+) left\): (.*)$/s.exec(wants);
  if (some) return { said: t('wantOpenSome', { n: some[1] ?? '', some: some[2] ?? '', left: some[3] ?? '' }), names: some[4] ?? '' };
  const last = /^open batch (\d+), the last \((\d+) devices?\)$/.exec(wants);
  if (last) return { said: t('wantOpenLast', { n: last[1] ?? '' }), names: t('devices', { n: Number(last[2]) }) };
  const goOn = /^go on with batch (\d+)$/.exec(wants);
  if (goOn) return { said: t('wantGoOn', { n: goOn[1] ?? '' }), names: '' };
  const update = /^update to revision (\d+)$/.exec(wants);
  if (update) return { said: t('wantUpdate', { n: update[1] ?? '' }), names: '' };
  return wants === 'count as updated' ? { said: t('wantCount'), names: '' } : { said: wants, names: '' };
}

/** The number of the batch that an approval would open. */
export const batchOf = (wants: string): number | undefined => {
  const found = /^open batch (\d+)/.exec(wants);
  return found ? Number(found[1]) : undefined;
};

/** What is left until a time, in seconds; nothing where there is no such time. */
export function secondsLeft(until: string | null | undefined, now: number): number | undefined {
  const at = until ? Date.parse(until) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - now) / 1000));
}

/** `4:05` or `1:02:03`. */
export function countdown(seconds: number): string {
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), seconds % 60];
  const two = (number: number) => String(number).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** How far a time is between its beginning and its end, from 0 to 1. */
export function share(from: string | undefined, until: string, now: number): number {
  const [begin, end] = [from ? Date.parse(from) : Number.NaN, Date.parse(until)];
  if (Number.isNaN(begin) || Number.isNaN(end) || end <= begin) return 0;
  return Math.min(1, Math.max(0, (now - begin) / (end - begin)));
}
