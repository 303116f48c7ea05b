/** What the server says of alerts. */

export type AlertState = 'inactive' | 'pending' | 'firing' | 'resolved';
export type AlertSeverity = 'critical' | 'warning' | 'info';

export interface Suppression {
  kind: string;
  by?: string;
  text: string;
  until?: string | null;
}

export interface LastChange {
  deployment: string;
  revision: string;
  commit: string;
  at: string;
}

export interface Alert {
  id: string;
  rule: string;
  device: string;
  state: AlertState;
  severity: AlertSeverity;
  summary: string;
  labels?: Record<string, string>;
  value?: number | null;
  activeAt: string;
  firedAt?: string | null;
  resolvedAt?: string | null;
  acknowledged?: { by: string; at: string; until: string; comment: string } | null;
  suppressed: Suppression[];
  behind: number;
  root?: string | null;
  lastChange?: LastChange | null;
  group?: string | null;
}

export interface Decision {
  at: string;
  what: string;
  why?: string;
  receiver?: string;
}

export interface Saying {
  receiver: string;
  at: string;
  reason: string;
  problem?: string | null;
}

export interface AlertDetail extends Alert {
  decisions: Decision[];
  said: Saying[];
  text?: string;
  lines?: string[];
}

export interface Undelivered {
  receiver: string;
  count: number;
  since: string;
  last: string;
  problem: string;
}

export interface AlertList {
  items: Alert[];
  total?: number;
  cursor?: string | null;
  beyondLimit?: Record<string, number>;
  undelivered?: Undelivered[];
}
