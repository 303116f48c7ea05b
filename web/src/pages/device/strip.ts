/** The history of a probe as a strip: each change of its state begins a piece. */
import type { ProbeHistory, ProbeStateName } from '@/api/types';

export interface Piece {
  state: ProbeStateName;
  /** Milliseconds. */
  from: number;
  to: number;
  /** Of the whole strip: 0 to 1. */
  share: number;
  reason: string;
}

/** Before the first known change nobody knows. */
export function pieces(history: ProbeHistory['history'], from: number, to: number): Piece[] {
  const sorted = history.map((one) => ({ ...one, time: new Date(one.at).getTime() })).filter(({ time }) => time <= to).sort((a, b) => a.time - b.time);
  const found: Piece[] = [];
  const add = (state: ProbeStateName, begins: number, ends: number, reason: string) => {
    const [a, b] = [Math.max(from, begins), Math.min(to, ends)];
    if (b <= a) return;
    const before = found.at(-1);
    if (before && before.state === state) {
      before.to = b;
      before.share = (b - before.from) / (to - from);
    } else found.push({ state, from: a, to: b, share: (b - a) / (to - from), reason });
  };
  add('unknown', from, sorted[0]?.time ?? to, '');
  for (const [index, one] of sorted.entries()) add(one.state, one.time, sorted[index + 1]?.time ?? to, one.reason ?? '');
  return found;
}

/** How much of the time it was in which state. */
export function shares(strip: readonly Piece[]): Record<ProbeStateName, number> {
  const sum = { ok: 0, fail: 0, unknown: 0 };
  for (const { state, share } of strip) sum[state] += share;
  return sum;
}
