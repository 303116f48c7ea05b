// Who may what, as Roles say it: subjects by kinds, with verbs as letters. What is shown is what Roles give; whether somebody may do one
// thing is decided by the engine alone.

import type { Kind, Manifest } from '@/api/types';

/** Verbs in the order of their letters. */
export const VERBS = ['view', 'edit', 'deploy', 'rollback', 'approve', 'silence', 'acknowledge'] as const;

/** A verb. */
export type Verb = (typeof VERBS)[number];

/** Letters by verb; all different. */
export const LETTERS: Readonly<Record<Verb, string>> = { view: 'V', edit: 'E', deploy: 'D', rollback: 'R', approve: 'A', silence: 'S', acknowledge: 'K' };

/** Kinds in the order of the columns. */
export const KINDS = ['Device', 'DeviceClass', 'Deployment', 'AlertRule', 'Silence', 'Receiver', 'Repository', 'Role'] as const satisfies readonly Kind[];

/** Kinds that are about devices: a grant on some devices gives nothing on others. */
const ABOUT_DEVICES: readonly Kind[] = ['Device', 'Deployment', 'AlertRule', 'Silence'];

/** As manifests have it. */
export type Expression = { key: string; operator: string; values?: string[] };
export type Selector = { matchLabels?: Record<string, string>; matchExpressions?: Expression[] };
export type Subject = { user?: string; group?: string; signer?: string };
export type Grant = { verbs: Verb[]; kinds?: Kind[]; devices?: Selector };
export type RoleTest = { subject: string; may: Verb; kind: Kind; device?: string; expect: boolean };
export type RoleSpec = {
  subjects: Subject[];
  allow?: Grant[];
  login?: { user: string; authorizedKeys: string[]; sudo?: string[] };
  tests?: RoleTest[];
  suspend?: boolean;
};
export type Role = Manifest<RoleSpec>;

/** Where a verb comes from. */
export type Source = { role: string; entry: number; devices?: string; suspended: boolean; byEdit: boolean };

/** A verb in a cell: on everything, on some devices only, or by a suspended Role only. */
export type Held = { verb: Verb; how: 'all' | 'some' | 'suspended'; sources: Source[] };

/** A row: a subject in a namespace. */
export type Line = { key: string; namespace: string; kind: 'user' | 'group' | 'signer'; name: string; roles: string[]; logins: string[]; cells: Record<Kind, Held[]> };

/** The matrix, groups first, then users, then signers, by name. */
export function matrix(roles: Role[]): Line[] {
  const lines = new Map<string, Line>();
  for (const role of roles) {
    const namespace = role.metadata.namespace ?? 'default';
    for (const subject of role.spec.subjects ?? []) {
      const who = subjectOf(subject);
      if (!who) continue;
      const key = JSON.stringify([namespace, who.kind, who.name]);
      const line = lines.get(key) ?? { key, namespace, ...who, roles: [], logins: [], cells: emptyCells() };
      lines.set(key, line);
      if (!line.roles.includes(role.metadata.name)) line.roles.push(role.metadata.name);
      if (role.spec.login) line.logins.push(role.spec.login.user);
      for (const [entry, grant] of (role.spec.allow ?? []).entries()) give(line, role, grant, entry);
    }
  }
  const rank = { group: 0, user: 1, signer: 2 };
  return [...lines.values()].sort((a, b) => a.namespace.localeCompare(b.namespace) || rank[a.kind] - rank[b.kind] || a.name.localeCompare(b.name));
}

function subjectOf({ user, group, signer }: Subject): { kind: Line['kind']; name: string } | undefined {
  if (group !== undefined) return { kind: 'group', name: group };
  if (user !== undefined) return { kind: 'user', name: user };
  return signer === undefined ? undefined : { kind: 'signer', name: signer };
}

function emptyCells(): Line['cells'] {
  return Object.fromEntries(KINDS.map((kind) => [kind, []])) as unknown as Line['cells'];
}

function give(line: Line, role: Role, grant: Grant, entry: number): void {
  const verbs = new Map<Verb, boolean>(grant.verbs.map((verb) => [verb, false]));
  // Who may change a thing may see it.
  if (verbs.has('edit') && !verbs.has('view')) verbs.set('view', true);
  const kinds = grant.kinds && grant.kinds.length > 0 ? grant.kinds : KINDS;
  for (const kind of kinds) {
    if (!Object.hasOwn(line.cells, kind) || (grant.devices && !ABOUT_DEVICES.includes(kind))) continue;
    for (const [verb, byEdit] of verbs) {
      const devices = grant.devices && { devices: selectorText(grant.devices) };
      hold(line.cells[kind], verb, { role: role.metadata.name, entry, suspended: role.spec.suspend === true, byEdit, ...devices });
    }
  }
}

function hold(cell: Held[], verb: Verb, source: Source): void {
  const there = cell.find((held) => held.verb === verb);
  const held = there ?? { verb, how: 'suspended', sources: [] };
  held.sources.push(source);
  if (!source.suspended) held.how = held.how === 'all' || source.devices === undefined ? 'all' : 'some';
  if (there) return;
  cell.push(held);
  cell.sort((a, b) => VERBS.indexOf(a.verb) - VERBS.indexOf(b.verb));
}

/** A selector as it is written on the command line: `role=web,tier in (a,b),!old`; `*` for every device. */
export function selectorText({ matchLabels = {}, matchExpressions = [] }: Selector): string {
  const labels = Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`);
  const expressions = matchExpressions.map(({ key, operator, values = [] }) => {
    switch (operator) {
      case 'In':
        return `${key} in (${values.join(',')})`;
      case 'NotIn':
        return `${key} notin (${values.join(',')})`;
      case 'Exists':
        return key;
      case 'DoesNotExist':
        return `!${key}`;
      default:
        return `${key} ${operator} (${values.join(',')})`;
    }
  });
  return [...labels, ...expressions].join(', ') || '*';
}

/** A signer's key, short enough to read: the end of an SSH key's base64 tells keys apart, its beginning does not. */
export function shortKey(signer: string): string {
  const [type = '', base64 = ''] = signer.trim().split(/\s+/);
  if (base64 === '') return type.length > 20 ? `${type.slice(0, 8)}…${type.slice(-8)}` : type;
  return base64.length > 14 ? `${type} …${base64.slice(-12)}` : `${type} ${base64}`;
}
