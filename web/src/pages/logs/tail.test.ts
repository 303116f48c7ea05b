import { describe, expect, it } from 'vitest';

import type { LogLine } from './model';
import { EMPTY, KEPT, merged, missedOf, tail, type Tail } from './tail';

const lines = (from: number, count: number): LogLine[] =>
  Array.from({ length: count }, (_, at) => ({ number: from + at, received: '', device: '', severity: 6, text: '' }) as unknown as LogLine);
const came = (state: Tail, from: number, count: number): Tail => tail(state, { what: 'came', lines: lines(from, count) });
const numbers = (state: LogLine[]): number[] => state.map((line) => Number(line.number));

describe('a tail', () => {
  it('has the newest line first', () => {
    expect(numbers(came(came(EMPTY, 1, 2), 3, 1).lines)).toEqual([3, 2, 1]);
  });

  it('keeps so many and no more, and those that were seen are not counted as left out', () => {
    const state = came(came(EMPTY, 0, KEPT), KEPT, 10);
    expect(state.lines).toHaveLength(KEPT);
    expect(state.lines[0]?.number).toBe(KEPT + 9);
    expect(state.leftOut).toBe(0);
  });

  it('stands still while it is held, and goes on with what came', () => {
    const held = came(tail(came(EMPTY, 1, 1), { what: 'hold' }), 2, 2);
    expect(numbers(held.lines)).toEqual([1]);
    expect(numbers(held.waiting)).toEqual([3, 2]);
    const on = tail(held, { what: 'goOn' });
    expect(numbers(on.lines)).toEqual([3, 2, 1]);
    expect(on).toMatchObject({ waiting: [], held: false, leftOut: 0 });
  });

  it('counts what nobody saw', () => {
    const held = tail(EMPTY, { what: 'hold' });
    const flooded = came(came(held, 0, KEPT), KEPT, 5);
    expect(flooded.waiting).toHaveLength(KEPT);
    expect(flooded.leftOut).toBe(5);
    expect(came(EMPTY, 0, KEPT + 7).leftOut).toBe(7);
    expect(tail(EMPTY, { what: 'came', lines: [], leftOut: 3 }).leftOut).toBe(3);
  });

  it('is cleared, and stays held if it was', () => {
    expect(tail(came(tail(EMPTY, { what: 'hold' }), 1, 3), { what: 'clear' })).toEqual({ ...EMPTY, held: true });
  });
});

describe('what came while nobody looked', () => {
  const missed = (items: LogLine[], cursor: string | null, last: number | undefined) => {
    const { lines: found, isWhole } = missedOf({ items: items.toReversed(), cursor }, last === undefined ? undefined : lines(last, 1)[0]);
    return [numbers(found), isWhole];
  };

  it('are the lines after the last one that was shown, in order', () => {
    expect(missed(lines(5, 4), 'more', 6)).toEqual([[7, 8], true]);
    expect(missed(lines(6, 1), null, 6)).toEqual([[], true]);
    expect(missed(lines(5, 2), null, undefined)).toEqual([[5, 6], true]);
  });

  it('has a hole where there are more than were read, or where they can’t be read', () => {
    expect(missed(lines(8, 2), 'more', 6)).toEqual([[8, 9], false]);
    expect(missed(lines(7, 2), null, 6)).toEqual([[7, 8], true]);
    expect(missedOf(undefined, undefined)).toEqual({ lines: [], isWhole: false });
  });

  it('is put among what came since, each line once and in order', () => {
    expect(numbers(merged(lines(5, 4), lines(7, 3)))).toEqual([5, 6, 7, 8, 9]);
    expect(numbers(merged([], lines(7, 1)))).toEqual([7]);
  });
});
