import { describe, expect, it } from 'vitest';

import { LETTERS, type Line, matrix, type Role, type RoleSpec, selectorText, shortKey, VERBS } from './matrix';

const role = (name: string, spec: RoleSpec, namespace = 'default'): Role => ({ apiVersion: 'evenkeel.dev/v1alpha1', kind: 'Role', metadata: { namespace, name }, spec });
const letters = (line: Line | undefined, kind: keyof Line['cells']): string =>
  (line?.cells[kind] ?? []).map((held) => LETTERS[held.verb] + { all: '', some: '~', suspended: '-' }[held.how]).join('');

describe('the matrix', () => {
  it('has a row for each subject, with verbs by kind', () => {
    const lines = matrix([
      role('web-team', {
        subjects: [{ user: 'alice' }, { group: 'web' }],
        allow: [{ verbs: ['view', 'deploy'], kinds: ['Deployment'], devices: { matchLabels: { role: 'web' } } }, { verbs: ['acknowledge', 'silence'], kinds: ['AlertRule'] }],
      }),
    ]);
    expect(lines.map((line) => `${line.kind} ${line.name}`)).toEqual(['group web', 'user alice']);
    expect([letters(lines[0], 'Deployment'), letters(lines[0], 'AlertRule'), letters(lines[0], 'Device')]).toEqual(['V~D~', 'SK', '']);
  });

  it('lets edit see, and takes no kinds for all kinds', () => {
    const [line] = matrix([role('admin', { subjects: [{ group: 'ops' }], allow: [{ verbs: ['edit'] }] })]);
    expect([letters(line, 'Device'), letters(line, 'Role')]).toEqual(['VE', 'VE']);
    expect(line?.cells.Device[0]?.sources).toEqual([{ role: 'admin', entry: 0, suspended: false, byEdit: true }]);
  });

  it('gives nothing on kinds that are not about devices to whoever has some devices', () => {
    const [line] = matrix([role('site', { subjects: [{ user: 'bo' }], allow: [{ verbs: ['view'], devices: {} }] })]);
    expect([letters(line, 'Device'), letters(line, 'Receiver'), letters(line, 'Role'), letters(line, 'DeviceClass')]).toEqual(['V~', '', '', '']);
  });

  it('adds up what several Roles give, the widest counts, and a suspended one gives nothing', () => {
    const subjects = [{ user: 'bo' }];
    const some = role('some', { subjects, allow: [{ verbs: ['view', 'edit'], kinds: ['Device'], devices: { matchLabels: { a: 'b' } } }] });
    const all = role('all', { subjects, allow: [{ verbs: ['view'], kinds: ['Device'] }] });
    const off = role('off', { subjects, suspend: true, allow: [{ verbs: ['view', 'approve'], kinds: ['Device'] }] });
    expect(letters(matrix([some, all, off])[0], 'Device')).toBe('VE~A-');
    expect(letters(matrix([off, all, some])[0], 'Device')).toBe('VE~A-');
  });

  it('keeps namespaces and signers apart', () => {
    const subjects = [{ signer: 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM7kzJF9 alice' }];
    const lines = matrix([role('a', { subjects, login: { user: 'alice', authorizedKeys: [] } }), role('a', { subjects }, 'lab')]);
    expect(lines.map((line) => [line.namespace, line.kind, line.logins])).toEqual([
      ['default', 'signer', ['alice']],
      ['lab', 'signer', []],
    ]);
    expect(shortKey('ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM7kzJF9 alice')).toBe('ssh-ed25519 …5AAAAIM7kzJF9'.replace('5AAAA', 'AAAA'));
    expect(shortKey('0123456789ABCDEF0123456789ABCDEF01234567')).toBe('01234567…01234567');
  });

  it('stands what no Role should have', () => {
    const odd = { subjects: [{}], allow: [{ verbs: ['view'], kinds: ['constructor', 'Device'] }] } as unknown as RoleSpec;
    expect(matrix([role('odd', odd)])).toEqual([]);
    expect(letters(matrix([role('odd', { ...odd, subjects: [{ user: 'x' }] })])[0], 'Device')).toBe('V');
  });

  it('has another letter for each verb', () => {
    expect(new Set(VERBS.map((verb) => LETTERS[verb])).size).toBe(VERBS.length);
  });
});

describe('a selector', () => {
  it('is written as on the command line', () => {
    const matchExpressions = [
      { key: 'tier', operator: 'In', values: ['a', 'b'] },
      { key: 'old', operator: 'DoesNotExist' },
      { key: 'gpu', operator: 'Exists' },
      { key: 'site', operator: 'NotIn', values: ['fra1'] },
    ];
    expect(selectorText({ matchLabels: { role: 'web' }, matchExpressions })).toBe('role=web, tier in (a,b), !old, gpu, site notin (fra1)');
    expect(selectorText({})).toBe('*');
  });
});
