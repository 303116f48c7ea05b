import { describe, expect, it } from 'vitest';
import type { Change, Point } from '@/api/types';
import { aligned, gapOf } from './aligned';
import { readRange } from './range';
import { together } from './together';

const at = (time: number, value = 1): Point => ({ at: time, min: value, max: value, avg: value });
const NOW = Date.parse('2026-11-27T12:00:07Z');

describe('the values of a chart', () => {
  it('stand beside each other at the same times', () => {
    expect(aligned([{ points: [at(10, 1), at(20, 2)] }, { points: [at(20, 3), at(30, 4)] }], 100)).toEqual([[10, 20, 30], [1, 2, undefined], [undefined, 3, 4]]);
  });

  it('have a gap where nothing was measured', () => {
    const series = [{ points: [at(10), at(20), at(30), at(90), at(100)] }];
    expect(gapOf(series, 0, 200)).toBe(30);
    expect(aligned(series, gapOf(series, 0, 200))).toEqual([[10, 20, 30, 31, 90, 100], [1, 1, 1, null, 1, 1]]);
  });

  it('may be none', () => {
    expect(gapOf([{ points: [] }], 0, 60)).toBe(60);
    expect(aligned([{ points: [] }], 60)).toEqual([[], []]);
  });
});

describe('the span of charts', () => {
  const read = (query: string) => readRange(new URLSearchParams(query), NOW, '6h');

  it('is the last so much, on a grid', () => {
    expect(read('')).toMatchObject({ last: '6h' });
    const { from, to } = read('range=1h');
    expect([to - from, to % 12, to >= NOW / 1000]).toEqual([3_600, 0, true]);
    expect(read('range=1h')).toEqual(readRange(new URLSearchParams('range=1h'), NOW + 1_000, '6h'));
  });

  it('is from and to', () => expect(read('from=100&to=200')).toEqual({ from: 100, to: 200, last: '' }));

  it('is the usual one for nonsense', () => {
    for (const query of ['range=1y', 'from=200&to=100', 'from=x&to=y', 'from=-5&to=5']) expect(read(query).last, query).toBe('6h');
  });
});

describe('changes beside a chart', () => {
  const change = (seconds: number, title = ''): Change => ({ at: new Date(seconds * 1000).toISOString(), kind: 'commit', title });

  it('are one mark where they would cover each other, and none outside', () => {
    const groups = together([change(150, 'b'), change(101, 'a'), change(152, 'c'), change(99), change(201)], 100, 200, 10);
    expect(groups.map(({ share, changes }) => [share, changes.map(({ title }) => title).join('')])).toEqual([[0.01, 'a'], [0.5, 'bc']]);
  });
});
