import { describe, expect, it } from 'vitest';

import { byAttention, lastResult, phases, splitWait } from './list';
import type { Deployment } from './types';

const deployment = (name: string, phase?: string, history: [number, string, boolean][] = []): Deployment => ({
  metadata: { name },
  status: {
    ...(phase && { phase }),
    history: history.map(([revision, result, ended]) => ({ revision, result, version: '', commit: '', reason: '', startedAt: 'T', finishedAt: ended ? 'T' : null })),
  },
});

describe('the list of Deployments', () => {
  it('has what wants somebody first', () => {
    const list = [deployment('a', 'Complete'), deployment('d'), deployment('c', 'Soaking'), deployment('b', 'AwaitingApproval'), deployment('e', 'New')];
    expect(list.sort(byAttention).map((one) => one.metadata.name)).toEqual(['b', 'c', 'd', 'a', 'e']);
    expect(phases(list).map(([phase]) => phase)).toEqual(['AwaitingApproval', 'Soaking', 'Pending', 'Complete', 'New']);
  });

  it('tells the last result apart from what is under way', () => {
    expect(lastResult(deployment('a', 'Progressing', [[1, 'Complete', true], [2, 'Progressing', false]]))?.revision).toBe(1);
    expect(lastResult(deployment('a', 'Progressing', [[1, 'Progressing', false]]))?.revision).toBe(1);
    expect(lastResult(deployment('a'))).toBeUndefined();
  });

  it('takes the kind of waiting from its text', () => {
    expect(splitWait('Soak: the batch is watched')).toEqual({ kind: 'Soak', rest: 'the batch is watched' });
    expect(splitWait('a device with the labels of spec.selector')).toEqual({ kind: '', rest: 'a device with the labels of spec.selector' });
    expect(splitWait('')).toEqual({ kind: '', rest: '' });
  });
});
