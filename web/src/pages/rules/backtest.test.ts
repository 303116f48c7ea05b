import { describe, expect, it } from 'vitest';

import { joined, spanOf, strip, summarize, type Course } from './backtest';

const from = Date.parse('2026-11-20T00:00:00Z') / 1000;
const to = Date.parse('2026-11-21T00:00:00Z') / 1000;
const course = (device: string, firings: [string, string | null][], more: Partial<Course> = {}): Course => ({
  device,
  firings: firings.map(([begin, end]) => ({ from: `2026-11-20T${begin}:00Z`, to: end && `2026-11-20T${end}:00Z`, value: 0.9, inRollouts: 0 })),
  more: 0,
  fired: 600,
  inRollouts: 60,
  unknown: 5,
  ...more,
});

describe('summarize', () => {
  it('tells how often, where, how long, and how much during rollouts', () => {
    const devices = [course('a', [['01:00', '01:10']]), course('b', [['02:00', '02:20'], ['23:00', null]], { more: 1 }), course('c', [], { fired: 0 })];
    const summary = summarize({ selected: 4, devices }, from, to);
    expect(summary).toMatchObject({ firings: 4, devices: 2, of: 4, fired: 1200, inRollouts: 180, unknown: 15, typical: 1200, every: 21_600 });
    expect(summary.worst.map((one) => one.device)).toEqual(['b', 'a']);
  });

  it('has no rate where nothing fired', () => {
    const summary = summarize({ selected: 1, devices: [course('a', [])] }, from, to);
    expect(summary).toMatchObject({ firings: 0, typical: 0, worst: [] });
    expect(summarize({ selected: 1, devices: [course('a', [], { unknown: 86_400 })] }, from, to).unknownShare).toBe(1);
    expect(summarize({ selected: 0, devices: [] }, from, to).unknownShare).toBe(0);
    expect(summary.every).toBeUndefined();
  });
});

describe('joined', () => {
  it('adds a page to those before it', () => {
    const page = (device: string, next: string | null) => ({ selected: 2, devices: [course(device, [])], readings: 10, notKept: ['x'], next });
    const all = joined(joined(undefined, page('a', 'a')), page('b', null));
    expect([all.devices.map((one) => one.device), all.readings, all.notKept, all.next]).toEqual([['a', 'b'], 20, ['x'], null]);
  });
});

describe('strip', () => {
  it('places each firing, however short, within the strip', () => {
    const marks = strip(course('a', [['00:00', '12:00'], ['12:00', '12:01'], ['18:00', null]]), from, to);
    expect(marks.map(({ start, width }) => [start, width])).toEqual([[0, 0.5], [0.5, 0.002], [0.75, 0.25]]);
    expect(strip(course('a', [['00:00', '12:00']]), to, from)).toEqual([]);
    const late = strip(course('a', [['23:59', '23:59']]), from, to - 3600)[0];
    expect((late?.start ?? 0) + (late?.width ?? 0)).toBeLessThanOrEqual(1);
  });
});

describe('spanOf', () => {
  it('reads spans and refuses what is none', () => {
    expect(['30d', '12h', '2w', '5m'].map(spanOf)).toEqual([2_592_000, 43_200, 1_209_600, 300]);
    expect(['', 'd', '-1d', '1y', '1d; x', '99999d'].map(spanOf)).toEqual([undefined, undefined, undefined, undefined, undefined, undefined]);
  });
});
