import { describe, expect, it } from 'vitest';
import { MOST, NOTHING, parseChange, take, touches } from './feed';
import type { ChangeEvent } from './types';

const change = (kind: string, name = 'web-01', namespace = 'default'): ChangeEvent => ({ kind, namespace, name, what: 'changed' });
const heard = (...changes: ChangeEvent[]) => changes.reduce((pending, one) => take(pending, { type: 'change', change: one }), NOTHING);

describe('the change feed', () => {
  it('makes lists of the kind, and the object itself, old', () => {
    const pending = heard(change('Device'));
    for (const path of ['/devices', '/overview', '/topology', '/devices/default/web-01', '/devices/default/web-01/probes']) expect(touches(pending, path), path).toBe(true);
    for (const path of ['/devices/default/web-02', '/devices/default/web-011', '/devices/other/web-01', '/users', '/session', '/logs']) expect(touches(pending, path), path).toBe(false);
  });

  it('knows a rollout by its deployment', () => {
    const pending = heard(change('Rollout', 'nginx'));
    expect(touches(pending, '/rollouts/default/nginx')).toBe(true);
    expect(touches(pending, '/rollouts/default/postgres')).toBe(false);
    expect(touches(pending, '/plans/preview')).toBe(true);
  });

  it('leaves another alert alone', () => {
    const pending = heard(change('Alert', 'a1f0'));
    expect([touches(pending, '/alerts'), touches(pending, '/alerts/a1f0'), touches(pending, '/alerts/b2')]).toEqual([true, true, false]);
  });

  it('says nothing about kinds that nobody knows', () => {
    expect(touches(heard(change('Comet')), '/devices')).toBe(false);
  });

  it('counts many changes of one thing once, and gives up telling them apart beyond a limit', () => {
    expect(heard(change('Device'), change('Device'), change('Device')).changes.size).toBe(1);
    const many = Array.from({ length: MOST + 1 }, (_, index) => change('Device', `d${index}`));
    expect(heard(...many.slice(0, MOST))).toMatchObject({ all: false });
    expect(heard(...many)).toMatchObject({ all: true });
    expect(touches(heard(...many), '/anything')).toBe(true);
  });

  it('reads everything anew after a reset, whatever comes then', () => {
    const pending = take(take(NOTHING, { type: 'reset' }), { type: 'change', change: change('Device') });
    expect(touches(pending, '/users')).toBe(true);
  });

  it('finds names that are written otherwise in addresses', () => {
    expect(touches(heard(change('Device', 'a b')), '/devices/default/a%20b')).toBe(true);
  });

  it('reads only what it knows', () => {
    expect(parseChange('{"kind":"Device","what":"changed"}')).toEqual({ kind: 'Device', what: 'changed' });
    for (const nonsense of ['', 'null', '[]', '{"kind":3}', '{']) expect(parseChange(nonsense)).toBeUndefined();
  });
});
