import { describe, expect, it } from 'vitest';

import { barAt, bars, chosen, ticks } from './histogram';
import { ends, milliseconds, rangeOf, rangeParams } from './range';

const at = (minute: number): string => new Date(Date.UTC(2026, 10, 26, 12, minute)).toISOString();

describe('bars', () => {
  const until = Date.parse(at(3));
  const made = bars(
    [
      { at: at(0), counts: { error: 1, warning: 1, other: 2 } },
      { at: at(1), counts: {} },
      { at: at(2), counts: { other: 8 } },
    ],
    until,
  );

  it('are shares of the highest', () => {
    expect(made.most).toBe(8);
    expect(made.bars.map((bar) => [bar.error, bar.warning, bar.other])).toEqual([
      [0.125, 0.125, 0.25],
      [0, 0, 0],
      [0, 0, 1],
    ]);
    expect(made.bars[2]?.to).toBe(until);
  });

  it('are none of nothing, and flat of zeros', () => {
    expect(bars([], until)).toEqual({ bars: [], most: 0 });
    expect(bars([{ at: at(0), counts: { other: -3, error: Number.NaN } }], until)).toMatchObject({ most: 0, bars: [{ other: 0, error: 0 }] });
  });

  it('are chosen by hand, in either direction', () => {
    const range = { since: at(0), until: at(2) };
    expect(chosen(made.bars, 0, 1)).toEqual(range);
    expect(chosen(made.bars, 1, 0)).toEqual(range);
    expect(chosen(made.bars, -5, 99)).toEqual({ since: at(0), until: at(3) });
    expect(chosen([], 0, 0)).toBeUndefined();
    expect([barAt(made.bars, -1), barAt(made.bars, 0.5), barAt(made.bars, 1)]).toEqual([0, 1, 2]);
  });
});

describe('ticks', () => {
  it('are round in the reader’s zone', () => {
    const [from, to] = [Date.UTC(2026, 10, 26, 0, 10), Date.UTC(2026, 10, 26, 6, 10)];
    expect(ticks(from, to, 6, 0).map((tick) => new Date(tick).getUTCHours())).toEqual([1, 2, 3, 4, 5, 6]);
    expect(new Date(ticks(from, to, 6, 330)[0] ?? 0).toISOString()).toBe('2026-11-26T00:30:00.000Z');
  });

  it('are few, however long it is', () => {
    expect(ticks(0, Date.UTC(2026, 0, 1), 6, 0).length).toBeLessThanOrEqual(100);
  });
});

describe('a range', () => {
  const of = (text: string): unknown => rangeOf(new URLSearchParams(text));

  it('is read from the address and written into it', () => {
    expect(of('range=6h')).toEqual({ last: '6h' });
    expect(of(`since=${at(0)}&until=${at(1)}`)).toEqual({ since: at(0), until: at(1) });
    expect(rangeParams({ last: '6h' })).toEqual({ range: '6h' });
    expect(rangeParams({ last: '1h' })).toEqual({});
  });

  it('is the usual one where the address makes no sense', () => {
    for (const text of ['', 'range=all', 'range=-1h', 'range=0h', 'since=x&until=y', `since=${at(1)}&until=${at(0)}`, `since=${at(1)}`]) {
      expect(of(text)).toEqual({ last: '1h' });
    }
  });

  it('has two ends', () => {
    expect(ends({ last: '15m' }, 1_000_999)).toEqual({ from: 1_000_000 - 900_000, to: 1_000_000 });
    expect(milliseconds('99999d')).toBe(99_999 * 86_400_000);
    expect(milliseconds('100000d')).toBeUndefined();
  });
});
