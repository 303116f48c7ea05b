import { describe, expect, it } from 'vitest';

import { alike, finding, opened, type Outlook, type Step, stories } from './story';

const changes = [{ item: 'apt:nginx', from: '1.24.0-1', to: '1.25.2-1' }];
const step = (target: string, action: Step['action'], more: Partial<Step> = {}): Step => ({ id: target, unit: 'deployment/nginx', target, action, changes, reason: 'why', ...more });
const outlook = (steps: Step[], more: Partial<Outlook> = {}): Outlook => ({ plans: steps.map((step) => ({ steps: [step] })), windows: {}, deferred: [], ends: true, ...more });

describe('the story of a plan', () => {
  it('takes devices that change alike together, in order, and leaves out what only prepares', () => {
    const told = stories(
      outlook([
        step('deployment/nginx', { rollout: { start: { number: 2 } } }),
        step('device/web-1', { prepare: { batch: 1 } }),
        step('device/web-1', { apply: { batch: 1 } }),
        step('deployment/nginx', { rollout: { openBatch: { number: 2 } } }),
        step('device/web-2', { apply: { batch: 2 } }),
        step('device/web-3', { apply: { batch: 2 } }),
        step('device/web-4', { restore: { work: { batch: 2 }, undo: 'x' } }),
        step('deployment/nginx', { rollout: 'end' }),
      ]),
    );
    expect(told).toHaveLength(1);
    expect(told[0]?.told.map((line) => (line.what === 'rollout' ? line.change : `${line.verb} ${line.batch}: ${line.devices.join(' ')}`))).toEqual([
      'start',
      'apply 1: device/web-1',
      'openBatch',
      'apply 2: device/web-2 device/web-3',
      'restore 2: device/web-4',
      'end',
    ]);
  });

  it('names the window that is waited for', () => {
    const [story] = stories(outlook([step('device/a', { apply: {} })], { windows: { 'deployment/nginx': '2026-11-26T22:00:00Z' } }));
    expect(story?.window).toBe('2026-11-26T22:00:00Z');
  });

  it('stands what it does not know', () => {
    expect(opened(null)).toEqual(['', undefined]);
    expect(stories(outlook([step('device/a', {}), step('device/b', 'odd')]))[0]?.told).toHaveLength(2);
  });

  it('takes together what is put off alike', () => {
    const one = { unit: 'deployment/nginx', wants: 'update', waitingOn: { budget: { group: 'site=ams1', limit: 1, out: [] } } };
    expect(alike([{ ...one, target: 'device/a' }, { ...one, target: 'device/b' }, { ...one, wants: 'remove', target: 'device/c' }])).toMatchObject([
      { targets: ['device/a', 'device/b'] },
      { targets: ['device/c'] },
    ]);
  });
});

describe('a finding', () => {
  it('says where it is', () => {
    expect(finding('fleet/web.yaml:12:3: spec.address: not an address')).toEqual({ file: 'fleet/web.yaml', line: 12, said: 'spec.address: not an address' });
    expect(finding('error: unknown field\n  --> web.yaml:4:3')).toEqual({ file: 'web.yaml', line: 4, said: 'error: unknown field\n  --> web.yaml:4:3' });
    expect(finding('the repository is empty')).toEqual({ said: 'the repository is empty' });
  });
});
