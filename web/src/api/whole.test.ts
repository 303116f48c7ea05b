import { expect, it } from 'vitest';
import { whole } from './whole';

const broken = { kind: 'AlertRule', metadata: { name: 'tried' }, status: { conditions: [] } };

it('gives an object whose file is wrong an empty spec, alone and in lists, and leaves all else as it is', () => {
  expect(whole(broken)).toEqual({ ...broken, spec: {} });
  expect(whole({ items: [broken, { ...broken, spec: { expr: 'true' } }], total: 2 })).toEqual({ items: [{ ...broken, spec: {} }, { ...broken, spec: { expr: 'true' } }], total: 2 });
  for (const other of [null, undefined, 'text', { kind: 'Device', name: 'web-01' }, { text: '' }]) expect(whole(other)).toEqual(other);
});
