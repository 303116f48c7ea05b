import { expect, it } from 'vitest';

import { canonical, leafOf } from './canonical';
import type { Entry } from './entry';

/** As an engine answered it; its log had this one entry, so that the root of its tree (as `/audit/proof` gave it) is the entry's leaf. */
const ENTRY = {
  actor: { kind: 'commit', name: 'Ada <ada@example.com>', signer: null },
  at: '2026-11-27T01:49:55.321037886Z',
  index: 0,
  outcome: 'done',
  target: 'commit/a53433e240d5589e67a1c45bd8cf4d4c41cf199e',
  verb: 'admit',
} satisfies Entry;
const ROOT = '50034e67f4cbd38410c378569ec2aec99d02e93df94bfc95e66dab657f30e540';

it('hashes an entry as the engine does', async () => {
  expect(await leafOf(ENTRY)).toBe(ROOT);
  expect(await leafOf({ ...ENTRY, message: 'changed' })).not.toBe(ROOT);
});

it('leaves out what says nothing, and keeps the order of the engine', () => {
  expect(canonical({ ...ENTRY, unit: '', changes: [], message: 'x', refersTo: 0 })).toBe(
    '{"index":0,"at":"2026-11-27T01:49:55.321037886Z","actor":{"kind":"commit","name":"Ada <ada@example.com>","signer":null},"verb":"admit","target":"commit/a53433e240d5589e67a1c45bd8cf4d4c41cf199e","message":"x","outcome":"done","refersTo":0}',
  );
});
