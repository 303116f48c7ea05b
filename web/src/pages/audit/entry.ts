// An entry of the audit log as it is stored and hashed, and what it is about.

import { parseName, pathOf, shownName } from '@/lib/name';

/** Who is behind an act. */
export type Actor = { kind: string; name: string; signer?: string | null };

/** An entry. Fields that say nothing are left out by the server. */
export type Entry = {
  index: number;
  at: string;
  actor: Actor;
  verb: string;
  target: string;
  unit?: string;
  plan?: string;
  step?: string;
  changes?: string[];
  message?: string;
  outcome: string;
  refersTo?: number;
  /** Its hash as a leaf of the tree, where it is asked for alone. */
  leaf?: string;
};

/** An address of something, such as `device/web-01`, taken apart. */
export type About = { kind: string; shown: string; path?: string };

const PATHS: Record<string, string> = {
  device: 'devices',
  deployment: 'deployments',
  alertrule: 'rules',
  receiver: 'receivers',
  silence: 'silences',
  role: 'roles',
  repository: 'source',
};
/** Letters of a commit that are shown. */
export const SHORT = 10;

/** Reads an address; what is no known kind's has no page to go to. */
export function about(target: string): About {
  const slash = target.indexOf('/');
  if (slash < 0) return { kind: '', shown: target };
  const [kind, rest] = [target.slice(0, slash).toLowerCase(), target.slice(slash + 1)];
  if (kind === 'commit') return { kind, shown: rest.slice(0, SHORT) };
  const name = parseName(rest);
  const place = Object.hasOwn(PATHS, kind) ? PATHS[kind] : undefined;
  if (place === undefined) return { kind, shown: rest };
  const single = kind === 'device' || kind === 'deployment';
  return { kind, shown: shownName(name), path: single ? `/${place}/${pathOf(name)}` : `/${place}` };
}
