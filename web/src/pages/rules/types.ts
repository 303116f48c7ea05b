import type { Manifest } from '@/api/types';

export interface Route {
  matchLabels?: Record<string, string>;
  hours?: unknown[];
  receivers: string[];
  continue?: boolean;
}

export interface RuleSpec {
  selector?: unknown;
  expr: string;
  recover?: string;
  for?: string;
  keepFiringFor?: string;
  noData?: 'Keep' | 'Fire' | 'Resolve';
  severity: 'critical' | 'warning' | 'info';
  labels?: Record<string, string>;
  summary?: string;
  notify?: {
    receivers: string[];
    routes?: Route[];
    groupBy?: string[];
    wait?: string;
    interval?: string;
    repeat?: string;
    escalate?: { after: string; receivers: string[] }[];
  };
  limit?: number;
  inhibitedBy?: { rule: string; equal?: string[] }[];
  tests?: { given: Record<string, string>; interval?: string; at: string; expect: string }[];
  suspend?: boolean;
}

export type AlertRule = Manifest<RuleSpec>;

export const nameOf = ({ metadata }: AlertRule): string => `${metadata.namespace ?? 'default'}/${metadata.name}`;

export type RuleState = 'invalid' | 'suspended' | 'beyond' | 'inForce';

/** How a rule stands. */
export function stateOf({ spec, status }: AlertRule, beyond: number): RuleState {
  if (status?.conditions?.some(({ type, status }) => type === 'Stalled' && status === 'True')) return 'invalid';
  if (spec.suspend) return 'suspended';
  return beyond > 0 || status?.conditions?.some(({ type, reason }) => type === 'Ready' && reason === 'LimitReached') ? 'beyond' : 'inForce';
}
