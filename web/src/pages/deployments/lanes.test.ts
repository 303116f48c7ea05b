import { describe, expect, it } from 'vitest';

import { approvalOf, consequencesOfUndo, groupWaits, lanesOf, phaseOf, possible, waitField, waitKind, wordOf } from './lanes';
import type { Batch, Revision, Wait } from './types';

const batch = (number: number, devices: [string, string][], takesRest = false): Batch => ({
  number,
  openedAt: '2026-11-26T12:00:00Z',
  takesRest,
  devices: devices.map(([name, phase]) => ({ name, phase, revision: 2 })),
});

const wait = (target: string, waitingOn: Wait['waitingOn'], wants = 'open batch 2', text = JSON.stringify(waitingOn)): Wait => ({
  target,
  wants,
  waitingOn,
  text,
  clearedBy: 'time',
});

const revision = (number: number, result: Revision['result']): Revision => ({
  number,
  digest: String(number),
  content: {},
  commit: 'c',
  startedAt: '2026-11-26T12:00:00Z',
  result,
});

describe('lanes', () => {
  it('has a lane for each batch, and each device where it stands', () => {
    const soak = wait('deployment/nginx', { kind: 'Soak', until: '2026-11-26T12:05:00Z' });
    const lanes = lanesOf({
      batches: [batch(1, [['a', 'applied']]), batch(2, [['b', 'applied'], ['c', 'applied']])],
      waits: [soak],
      gates: [{ batch: 2, kind: 'probes', state: 'passed' }, { kind: 'soak', state: 'waiting' }],
    });
    expect(lanes.map((lane) => [lane.batch, lane.state, lane.counts.good])).toEqual([[1, 'good', 1], [2, 'watched', 2]]);
    expect(lanes[0]?.soakUntil).toBeUndefined();
    expect(lanes[1]?.soakUntil).toBe('2026-11-26T12:05:00Z');
    expect(lanes[1]?.gates.map(({ kind }) => kind)).toEqual(['probes', 'soak']);
    expect(lanes[0]?.gates).toHaveLength(0);
  });

  it('reads gates by what is asked, and by what is waited for', () => {
    const gates = [{ name: 'batch 1', state: 'passed' }, { name: 'Health', state: 'waiting', text: 'web fails' }, { name: 'Approval', state: 'waiting' }, { batch: 1, kind: 'alerts', state: 'fail' }, { batch: 2, kind: 'expr', state: 'new' }];
    const through = { ...batch(1, [['a', 'applied']]), gate: { state: 'passed', reason: '', counts: { passed: 1 } } };
    const lanes = lanesOf({ batches: [through, batch(2, [['b', 'applied']])], waits: [], gates });
    expect(lanes[0]?.gates[0]?.counts).toEqual({ passed: 1 });
    expect(lanes.map((lane) => lane.gates.map(({ kind, state }) => `${kind} ${state}`))).toEqual([
      ['gate passed', 'alerts failed'],
      ['probes waiting', 'expr unknown'],
    ]);
  });

  it('shows what failed and what goes back before what is well', () => {
    const of = (devices: [string, string][]) => lanesOf({ batches: [batch(1, devices)], waits: [], gates: [] })[0]?.state;
    expect(of([['a', 'applied'], ['b', 'failed']])).toBe('failed');
    expect(of([['a', 'restoring'], ['b', 'failed']])).toBe('back');
    expect(of([['a', 'applied'], ['b', 'applying']])).toBe('moving');
    expect(of([['a', 'waiting']])).toBe('moving');
  });

  it('says of a device what the gate says of it, once', () => {
    const of = (problem: string | null, reason: string) => {
      const devices = [{ name: 'a', phase: 'failed', problem, gate: { result: 'failed', reason } }];
      return lanesOf({ batches: [{ ...batch(1, []), devices, more: 3 }], waits: [], gates: [] })[0];
    };
    expect([of(null, 'web fails')?.cells[0]?.gate, of('web fails', 'web fails')?.cells[0]?.gate, of(null, '')?.more]).toEqual(['web fails', undefined, 3]);
  });

  it('gives a device what it waits for', () => {
    const away = wait('device/b', { kind: 'Unreachable', reason: 'no route' }, 'update');
    const [lane] = lanesOf({ batches: [batch(1, [['a', 'applied'], ['b', 'waiting']])], waits: [away], gates: [] });
    expect(lane?.cells.map((cell) => cell.wait?.wants)).toEqual([undefined, 'update']);
  });

  it('takes a phase that it does not know as waiting, whatever its name', () => {
    expect(phaseOf('Applying')).toBe('applying');
    expect(phaseOf('constructor')).toBe('waiting');
    expect(phaseOf('')).toBe('waiting');
  });
});

describe('waits', () => {
  it('reads both notations', () => {
    const flat = wait('deployment/a', { kind: 'Soak', until: 'T' });
    const tagged = wait('deployment/a', { soak: { until: 'T' } });
    expect([flat, tagged].map((one) => [waitKind(one), waitField(one, 'until')])).toEqual([['Soak', 'T'], ['Soak', 'T']]);
  });

  it('puts what is alike together, and what a person has to do first', () => {
    const budget = (device: string) => wait(`device/${device}`, { kind: 'Budget' }, 'update to revision 2');
    const ask = wait('deployment/a', { kind: 'Approval', id: 'abc' });
    const groups = groupWaits([{ ...budget('a'), since: '2026-01-02T00:00:00Z' }, { ...budget('b'), since: '2026-01-01T00:00:00Z' }, ask]);
    expect(groups.map((group) => [group.kind, group.targets.length, group.since])).toEqual([
      ['Approval', 1, undefined],
      ['Budget', 2, '2026-01-01T00:00:00Z'],
    ]);
    expect(approvalOf([budget('a'), ask])?.id).toBe('abc');
    expect(approvalOf([budget('a')])).toBeUndefined();
  });
});

describe('what can be asked for', () => {
  const history = [revision(1, 'complete'), revision(2, 'superseded'), revision(3, 'progressing')];
  it('goes back to the newest revision that was complete, where this one was put', () => {
    const batches = [batch(1, [['a', 'applied'], ['b', 'failed'], ['c', 'waiting']])];
    expect(consequencesOfUndo({ history, batches })).toEqual({ from: 3, to: 1, devices: ['a', 'b'] });
    expect(consequencesOfUndo({ history: [revision(1, 'progressing')], batches })).toBeUndefined();
    expect(consequencesOfUndo({ history: [...history, revision(4, { rollingBack: { to: 1 } })], batches })).toBeUndefined();
  });

  it('offers only what can be', () => {
    expect(possible({ history, batches: [] })).toEqual({ pause: true, resume: false, undo: true });
    expect(possible({ history, batches: [], paused: { by: 'x', at: 'T' } })).toMatchObject({ pause: false, resume: true });
    expect(possible({ history: [revision(1, 'complete'), revision(2, { rolledBack: { to: 1 } })], batches: [] }).undo).toBe(false);
    expect(possible({ history: [], batches: [] })).toEqual({ pause: false, resume: false, undo: false });
    expect(wordOf({ rolledBack: { to: null } })).toBe('rolledBack');
  });
});
