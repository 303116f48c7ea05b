import { describe, expect, it } from 'vitest';

import type { AlertDetail } from '../alerts/types';
import { askedFor, chosen } from './series';
import { timelineOf } from './timeline';

const alert: AlertDetail = {
  id: 'a',
  rule: 'disk',
  device: 'web-01',
  state: 'resolved',
  severity: 'warning',
  summary: '',
  suppressed: [],
  behind: 0,
  activeAt: '2026-11-26T12:00:00Z',
  firedAt: '2026-11-26T12:10:00Z',
  resolvedAt: '2026-11-26T13:00:00Z',
  acknowledged: { by: 'ada', at: '2026-11-26T12:20:00Z', until: '2026-11-26T16:20:00Z', comment: 'on it' },
  lastChange: { deployment: 'nginx', revision: 'nginx 1.24', commit: 'c', at: '2026-11-26T11:58:00Z' },
  decisions: [
    { at: '2026-11-26T12:10:00Z', what: '', why: 'firing' },
    { at: '2026-11-26T12:10:00Z', what: '', why: 'firing at 0.93' },
    { at: '2026-11-26T12:20:00.2Z', what: '', why: 'acknowledged by ada until 2026-11-26T16:20:00Z: on it' },
    { at: '2026-11-26T12:10:00.5Z', what: 'oncall', why: 'said first' },
  ],
  said: [
    { receiver: 'chat', at: '2026-11-26T12:11:00Z', reason: 'first', problem: '402' },
    { receiver: 'oncall', at: '2026-11-26T12:10:00Z', reason: 'first' },
  ],
};

describe('the life of an alert', () => {
  it('is told in its order, causes first', () => {
    expect(timelineOf(alert).map(({ kind }) => kind)).toEqual(['changed', 'began', 'fired', 'said', 'decided', 'failed', 'acknowledged', 'resolved']);
    // What the engine says of firing and of being looked after is in those entries, but for what was at other times.
    expect(timelineOf(alert).find(({ kind }) => kind === 'fired')).toMatchObject({ value: '0.93' });
    expect(timelineOf({ ...alert, decisions: [{ at: '2026-11-26T11:00:00Z', what: '', why: 'firing at 0.99' }] }).filter(({ kind }) => kind === 'decided')).toHaveLength(1);
    const bare: AlertDetail = { ...alert, firedAt: null, resolvedAt: null, acknowledged: null, lastChange: null, decisions: [], said: [] };
    expect(timelineOf(bare).map(({ kind }) => kind)).toEqual(['began']);
  });
});

describe('series of an expression', () => {
  it('are named as they are stored', () => {
    expect(askedFor('device.usage.memory.ratio > 0.9 && usage.cpu.ratio > 0.5')).toEqual(['memory.ratio', 'cpu.ratio']);
    expect(askedFor('predict(usage.disks["/"].available, "1h", "1d") < 0')).toEqual(['disks[/].available']);
    expect(askedFor('usage.disks.exists(d, usage.disks[d].ratio > 0.9)')).toEqual(['disks[*].ratio']);
    expect(askedFor('logs["Failed password"].matches > 5 || logs.errors > 3')).toEqual(['logs[Failed password].matches', 'logs.errors']);
    expect(askedFor('probes.nginx.state == "fail"')).toEqual([]);
  });

  it('are those that the device has', () => {
    const there = ['cpu.ratio', 'disks[/].ratio', 'disks[/var].ratio', 'disks[/].available'];
    expect(chosen('usage.disks.exists(d, usage.disks[d].ratio > 0.9)', there)).toEqual(['disks[/].ratio', 'disks[/var].ratio']);
    expect(chosen('usage.memory.ratio > 1', there)).toEqual([]);
    expect(chosen('x', Array.from({ length: 50 }, (_, index) => `disks[${index}].ratio`))).toEqual([]);
  });
});
