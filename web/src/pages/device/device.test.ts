import { describe, expect, it } from 'vitest';
import { LINES, plan, takeApart } from './charts';
import { pieces, shares } from './strip';

const time = (minute: number) => new Date(minute * 60_000).toISOString();

describe('the charts of a device', () => {
  it('are those that it has series for', () => {
    const charts = plan(['cpu.ratio', 'cpu.count', 'disks[/].ratio', 'disks[/].total', 'interfaces[lo].received', 'interfaces[eth0].received', 'interfaces[eth0].sent', 'uptime']);
    expect(charts.map(({ id, series }) => [id, series.length])).toEqual([['cpu', 1], ['disks', 1], ['network', 2]]);
    expect(plan([])).toEqual([]);
    expect(plan(['cpu.iowait', 'cpu.ratio', 'load.fifteen', 'load.five', 'load.one']).map(({ series }) => series)).toEqual([['cpu.ratio', 'cpu.iowait'], ['load.one', 'load.five', 'load.fifteen']]);
  });

  it('draw no more lines than can be told apart, and say so', () => {
    const [disks] = plan(Array.from({ length: LINES + 3 }, (_, index) => `disks[/d${index}].ratio`));
    expect([disks?.series.length, disks?.leftOff]).toEqual([LINES, 3]);
  });

  it('know what a series is of', () => {
    expect([takeApart('disks[/var].ratio'), takeApart('cpu.iowait'), takeApart('disks[a].b].ratio')]).toEqual([{ item: '/var', what: 'ratio' }, { item: '', what: 'iowait' }, { item: 'a].b', what: 'ratio' }]);
  });
});

describe('the strip of a probe', () => {
  it('begins with what nobody knows, and ends now', () => {
    const strip = pieces([{ at: time(20), state: 'ok' }, { at: time(80), state: 'fail', reason: 'timeout' }], 0, 100 * 60_000);
    expect(strip.map(({ state, share, reason }) => [state, share, reason])).toEqual([['unknown', 0.2, ''], ['ok', 0.6, ''], ['fail', 0.2, 'timeout']]);
    expect(shares(strip)).toEqual({ ok: 0.6, fail: 0.2, unknown: 0.2 });
  });

  it('goes on with what was before it, in order, the same state once', () => {
    const strip = pieces([{ at: time(90), state: 'ok' }, { at: time(-50), state: 'ok' }, { at: time(200), state: 'fail' }], 0, 100 * 60_000);
    expect(strip.map(({ state, share }) => [state, share])).toEqual([['ok', 1]]);
  });

  it('is unknown where there is nothing', () => expect(pieces([], 0, 10)).toMatchObject([{ state: 'unknown', share: 1 }]));
});
