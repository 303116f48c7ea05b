import { expect, it } from 'vitest';
import { changedOf, type ListedUser } from './model';

const user: ListedUser = { name: 'ann', displayName: 'Ann', email: 'ann@example.com', groups: ['dba', 'sso'], storedGroups: ['dba'], isAdmin: false, kind: 'local', disabled: false, createdAt: '', sessions: 0, tokens: 0 };
const same = { displayName: 'Ann', email: 'ann@example.com', groups: ['dba'] };

it('only what was changed of a user is sent', () => {
  expect(changedOf(user, same)).toEqual({});
  expect(changedOf(user, { ...same, displayName: 'Ann B.' })).toEqual({ displayName: 'Ann B.' });
  expect(changedOf(user, { ...same, email: '' })).toEqual({ email: '' });
  expect(changedOf(user, { ...same, groups: ['web', 'dba'] })).toEqual({ groups: ['web', 'dba'] });
  expect(changedOf(user, { ...same, groups: [] })).toEqual({ groups: [] });
});

it('groups in another order are the same', () => {
  const { storedGroups: _, ...all } = user;
  expect(changedOf(all, { ...same, groups: ['sso', 'dba'] })).toEqual({});
  expect(changedOf(all, same)).toEqual({ groups: ['dba'] });
});
