import type { Change } from '@/api/types';

export interface Group {
  /** Seconds since 1970, of the first of them. */
  at: number;
  /** Where on the axis: 0 to 1. */
  share: number;
  changes: Change[];
}

/** Changes of a span, in at most so many places of its axis. */
export function together(changes: readonly Change[], from: number, to: number, places: number): Group[] {
  const groups = new Map<number, Group>();
  const seen = changes.map((change) => ({ change, at: new Date(change.at).getTime() / 1000 })).filter(({ at }) => at >= from && at <= to);
  for (const { change, at } of seen.sort((a, b) => a.at - b.at)) {
    const share = (at - from) / (to - from);
    const place = Math.floor(share * places);
    const group = groups.get(place);
    if (group) group.changes.push(change);
    else groups.set(place, { at, share, changes: [change] });
  }
  return [...groups.values()];
}
