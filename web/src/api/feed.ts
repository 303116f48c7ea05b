/** The change feed, without a browser: what an event says must be read anew. */
import type { ChangeEvent } from './types';

/** Which paths show an object of a kind; the first is that of the kind's own objects. */
const SHOWN: Readonly<Record<string, readonly string[]>> = {
  Device: ['/devices', '/topology', '/overview'],
  Deployment: ['/deployments', '/rollouts', '/overview', '/plans'],
  Rollout: ['/rollouts', '/deployments', '/overview', '/plans'],
  Alert: ['/alerts', '/overview', '/topology'],
  AlertRule: ['/alertrules', '/alerts'],
  Silence: ['/silences', '/alerts'],
  Receiver: ['/receivers', '/notices'],
  Notice: ['/notices', '/receivers', '/alerts'],
  Repository: ['/repositories', '/source'],
  Role: ['/roles', '/access', '/can'],
  DeviceClass: ['/deviceclasses', '/devices'],
  Source: ['/source', '/commits', '/overview', '/repositories', '/plans'],
  Commit: ['/commits', '/source'],
  User: ['/users'],
  Token: ['/tokens'],
  Audit: ['/audit', '/overview'],
  Engine: ['/overview', '/status', '/source'],
};

export interface Pending {
  all: boolean;
  changes: ReadonlyMap<string, ChangeEvent>;
}

export const NOTHING: Pending = { all: false, changes: new Map() };
/** Changes that are told apart; beyond that everything on the screen is read anew, which is cheaper. */
export const MOST = 200;

export type FeedEvent = { type: 'change'; change: ChangeEvent } | { type: 'reset' };

/** Takes in an event. Many changes of one thing are one. */
export function take(pending: Pending, event: FeedEvent): Pending {
  if (event.type === 'reset' || pending.all) return { all: true, changes: new Map() };
  const { kind, namespace = '', name = '' } = event.change;
  const changes = new Map(pending.changes).set(`${kind} ${namespace}/${name}`, event.change);
  return changes.size > MOST ? { all: true, changes: new Map() } : { all: false, changes };
}

/** Whether what was read under a path must be read anew. */
export function touches(pending: Pending, path: string): boolean {
  if (pending.all) return true;
  for (const change of pending.changes.values()) {
    const shown = SHOWN[change.kind];
    if (!shown) continue;
    if (shown.some((prefix) => concerns(prefix, change, path))) return true;
  }
  return false;
}

/** A list of the kind, or this very object and what belongs to it; another object of the kind is as it was. */
function concerns(prefix: string, change: ChangeEvent, path: string): boolean {
  if (path === prefix) return true;
  if (!path.startsWith(`${prefix}/`)) return false;
  if (!change.name) return true;
  const rest = path.slice(prefix.length + 1);
  const own = [`${change.namespace || 'default'}/${change.name}`, change.name].map((name) => name.split('/').map(encodeURIComponent).join('/'));
  if (own.some((name) => rest === name || rest.startsWith(`${name}/`))) return true;
  // Things below a list that name no object of the kind (`/logs/templates`, `/plans/preview`).
  return !rest.includes('/') && prefix !== '/alerts';
}

/** Reads the data of an event; `undefined` if it is not what we know. */
export function parseChange(data: string): ChangeEvent | undefined {
  try {
    const value: unknown = JSON.parse(data);
    if (!value || typeof value !== 'object' || !('kind' in value) || typeof value.kind !== 'string') return undefined;
    return value as ChangeEvent;
  } catch {
    return undefined;
  }
}
