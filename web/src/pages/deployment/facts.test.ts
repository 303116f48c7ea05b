import { describe, expect, it } from 'vitest';

import { batchesOf, selectorOf, stalledBy, toCome } from './facts';

describe('facts', () => {
  it('says whom it chooses', () => {
    const matchExpressions = [{ key: 'site', operator: 'In', values: ['a', 'b'] }, { key: 'x', operator: 'DoesNotExist' }, { key: 'y', operator: 'Exists' }, { key: 'z', operator: 'NotIn', values: ['q'] }];
    expect(selectorOf({ selector: { matchLabels: { role: 'web' }, matchExpressions } })).toBe('role=web,site in (a,b),!x,y,z notin (q)');
    expect([selectorOf(undefined), selectorOf({ selector: {} }), selectorOf({ selector: 'x' })]).toEqual(['', '', '']);
  });

  it('says how it spreads', () => {
    expect(batchesOf({ strategy: { batches: [{ max: 1 }, { max: '25%' }] } }, 'rest')).toBe('1 → 25% → rest');
    expect(batchesOf(undefined, 'rest')).toBe('1 → 10% → rest');
  });

  it('counts what is still to come', () => {
    const batch = (takesRest: boolean) => ({ number: 1, openedAt: 'T', takesRest, devices: [{ name: 'a', phase: 'applied' }] });
    const history = (result: string) => [{ number: 1, digest: '', commit: '', startedAt: 'T', result }];
    expect(toCome({ batches: [batch(false)], history: history('progressing') }, { counts: { total: 5 } })).toBe(4);
    expect(toCome({ batches: [batch(false)], history: history('complete') }, { counts: { total: 5 } })).toBe(0);
    expect(toCome({ batches: [batch(true)], history: history('progressing') }, { counts: { total: 5 } })).toBe(0);
    expect(toCome({ batches: [], history: [] }, undefined)).toBe(0);
  });

  it('tells what is wrong with a manifest from a rollout that failed', () => {
    const condition = (reason: string) => ({ metadata: { name: 'a' }, status: { conditions: [{ type: 'Stalled', status: 'True', reason, message: 'why' }] } });
    expect([stalledBy(condition('InvalidManifest')), stalledBy(condition('Failed'))]).toEqual(['why', undefined]);
  });
});
