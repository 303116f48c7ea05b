// Bars of lines over time, and a part of them that is chosen by hand.

import type { Range } from './range';

/** Lines of a part of the time, by how grave they are. */
export type Bucket = { at: string; counts: { error?: number; warning?: number; other?: number } };

/** A bar: from the bottom up other lines, warnings, errors, each as a share of the highest bar. */
export type Bar = { from: number; to: number; error: number; warning: number; other: number; lines: number };

/** The bars, in the order of time, each as wide as the time to the next. */
export function bars(buckets: Bucket[], until: number): { bars: Bar[]; most: number } {
  const at = buckets.map((bucket) => Date.parse(bucket.at));
  const counts = buckets.map(({ counts }) => ({ error: whole(counts.error), warning: whole(counts.warning), other: whole(counts.other) }));
  const lines = counts.map((count) => count.error + count.warning + count.other);
  const most = Math.max(1, ...lines);
  return {
    most: Math.max(0, ...lines),
    bars: counts.map((count, number) => ({
      from: at[number] ?? 0,
      to: at[number + 1] ?? Math.max(until, at[number] ?? 0),
      error: count.error / most,
      warning: count.warning / most,
      other: count.other / most,
      lines: lines[number] ?? 0,
    })),
  };
}

function whole(count: number | undefined): number {
  return count !== undefined && Number.isFinite(count) && count > 0 ? count : 0;
}

/** The instant at a share (0 to 1) of the width. */
export function instantAt(share: number, from: number, to: number): number {
  return from + Math.min(1, Math.max(0, share)) * (to - from);
}

/** The range between two bars that were chosen, in any order; whole bars only. */
export function chosen(bars: Bar[], first: number, last: number): Range | undefined {
  const [low, high] = [Math.min(first, last), Math.max(first, last)];
  const [begin, end] = [bars[Math.max(0, low)], bars[Math.min(bars.length - 1, high)]];
  if (!begin || !end || end.to <= begin.from) return undefined;
  return { since: new Date(begin.from).toISOString(), until: new Date(end.to).toISOString() };
}

/** The bar at a share of the width. */
export function barAt(bars: Bar[], share: number): number {
  return Math.min(bars.length - 1, Math.max(0, Math.floor(share * bars.length)));
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY];

/** Round instants to write below the bars, at most `count`, in the reader's zone (minutes east of UTC). */
export function ticks(from: number, to: number, count: number, east: number): number[] {
  const step = STEPS.find((step) => (to - from) / step <= count) ?? 28 * DAY;
  const shift = east * MINUTE;
  const ticks: number[] = [];
  for (let at = Math.ceil((from + shift) / step) * step - shift; at <= to && ticks.length < 100; at += step) ticks.push(at);
  return ticks;
}
