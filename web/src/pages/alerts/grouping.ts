/** Alerts put together so that a person reads one line for one cause. */
import type { Alert, AlertSeverity } from './types';

export type GroupBy = 'root' | 'severity' | 'rule' | 'device' | 'site';
export const GROUPINGS: GroupBy[] = ['root', 'severity', 'rule', 'device', 'site'];

export interface AlertGroup {
  key: string;
  /** The alerts to look at first: those of the root itself, or all of the group. */
  heads: Alert[];
  /** Those that are there only since the root is dead. */
  behind: Alert[];
  /** Devices behind the root, with or without an alert of their own. */
  behindCount: number;
  severity: AlertSeverity;
  /** When the first of them began. */
  since: string;
}

const RANK: Record<AlertSeverity, number> = { critical: 0, warning: 1, info: 2 };

export const rankOf = (severity: AlertSeverity): number => RANK[severity] ?? 3;

export const sinceOf = (alert: Alert): string => alert.firedAt ?? alert.activeAt;

/** Worse before better, then what began last first. */
export function byUrgency(a: Alert, b: Alert): number {
  return rankOf(a.severity) - rankOf(b.severity) || Number(Boolean(a.acknowledged)) - Number(Boolean(b.acknowledged)) || sinceOf(b).localeCompare(sinceOf(a)) || a.id.localeCompare(b.id);
}

export function groupAlerts(alerts: Alert[], by: GroupBy): AlertGroup[] {
  const keyed = new Map<string, Alert[]>();
  for (const alert of alerts) {
    const key = keyOf(alert, by);
    const list = keyed.get(key);
    if (list) list.push(alert);
    else keyed.set(key, [alert]);
  }
  return [...keyed].map(([key, members]) => groupOf(key, members, by)).sort(byGroup);
}

function keyOf(alert: Alert, by: GroupBy): string {
  switch (by) {
    case 'root':
      return alert.root ?? alert.device;
    case 'severity':
      return alert.severity;
    case 'rule':
      return alert.rule;
    case 'device':
      return alert.device;
    case 'site':
      return alert.labels?.site ?? '';
  }
}

function groupOf(key: string, members: Alert[], by: GroupBy): AlertGroup {
  const sorted = [...members].sort(byUrgency);
  const heads = by === 'root' ? sorted.filter((alert) => !alert.root || alert.root === alert.device) : sorted;
  const behind = by === 'root' ? sorted.filter((alert) => alert.root && alert.root !== alert.device) : [];
  // What is behind a root is no worse than the root itself: only where nobody alerts on that, it speaks for it.
  const speaking = heads.length > 0 ? heads : behind;
  const worst = speaking.reduce<AlertSeverity>((worst, alert) => (rankOf(alert.severity) < rankOf(worst) ? alert.severity : worst), 'info');
  const devicesBehind = new Set(behind.map((alert) => alert.device)).size;
  return {
    key,
    heads,
    behind,
    behindCount: Math.max(devicesBehind, ...heads.map((alert) => alert.behind)),
    severity: worst,
    since: sorted.map(sinceOf).reduce((first, at) => (at < first ? at : first)),
  };
}

function byGroup(a: AlertGroup, b: AlertGroup): number {
  return rankOf(a.severity) - rankOf(b.severity) || b.behindCount - a.behindCount || b.since.localeCompare(a.since) || a.key.localeCompare(b.key);
}

export type Shelf = 'firing' | 'pending' | 'suppressed' | 'resolved';

/** Where an alert is shown: what fires and is not said for now lies apart from what wants somebody. */
export function shelfOf(alert: Alert): Shelf {
  if (alert.state === 'resolved' || alert.state === 'inactive') return 'resolved';
  if (alert.suppressed.length > 0 && !isOnlyBehind(alert)) return 'suppressed';
  return alert.state;
}

/** It is kept quiet by nothing but its root being dead: then it is shown with the root. */
export function isOnlyBehind(alert: Alert): boolean {
  return Boolean(alert.root) && alert.suppressed.length > 0 && alert.suppressed.every((one) => /^(parent|returned)$/i.test(one.kind));
}

export function shelve(alerts: Alert[]): Record<Shelf, Alert[]> {
  const shelves: Record<Shelf, Alert[]> = { firing: [], pending: [], suppressed: [], resolved: [] };
  for (const alert of alerts) shelves[shelfOf(alert)].push(alert);
  return shelves;
}

/** How many there are to look at: what is only behind a dead device counts with that one. */
export const countOf = (alerts: Alert[]): number => alerts.filter((alert) => !isOnlyBehind(alert)).length;

/** When an alert is said again, as far as that is known: the last of what keeps it quiet. */
export function quietUntil(alert: Alert): string | undefined {
  const ends = alert.suppressed.map((one) => one.until);
  if (ends.length === 0 || ends.some((end) => !end)) return undefined;
  return (ends as string[]).reduce((last, end) => (end > last ? end : last));
}

/** Alerts that are over, the newest first: what the history has, and of the last minutes what the list still has; each of them once. */
export function over(recent: Alert[], past: Alert[]): Alert[] {
  const each = new Map([...recent, ...past].map((alert) => [`${alert.id} ${alert.resolvedAt ?? ''}`, alert]));
  return [...each.values()].sort((a, b) => (b.resolvedAt ?? '').localeCompare(a.resolvedAt ?? '') || byUrgency(a, b));
}
