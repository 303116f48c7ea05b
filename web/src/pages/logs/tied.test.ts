import { describe, expect, it } from 'vitest';

import type { Change } from '@/api/types';
import { tied } from './tied';

const first = Date.parse('2026-11-26T12:00:00Z');
const change = (minutes: number, kind: Change['kind'] = 'rollout', title = ''): Change => ({ at: new Date(first - minutes * 60_000).toISOString(), kind, title });

describe('the change before a new kind of line', () => {
  it('is the nearest one', () => {
    expect(tied([change(14), change(3), change(9)], first)).toEqual({ change: change(3), seconds: 180 });
  });

  it('is a rollout rather than a commit of the same time, and never an alert', () => {
    expect(tied([change(3, 'commit'), change(3, 'rollout', 'nginx'), change(1, 'alert')], first)?.change.title).toBe('nginx');
    expect(tied([change(1, 'alert')], first)).toBeUndefined();
  });

  it('is none that is long ago, or comes after', () => {
    expect(tied([change(16), change(-2), { ...change(1), at: 'never' }], first)).toBeUndefined();
    expect(tied([change(-0.5)], first)?.seconds).toBe(-30);
  });
});
