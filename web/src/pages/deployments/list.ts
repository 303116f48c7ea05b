/** The list of Deployments: what is shown of it, in which order. */
import type { Deployment } from './types';

/** What wants somebody comes first, what is done last. */
export const ORDER = ['AwaitingApproval', 'Failed', 'RollingBack', 'RolledBack', 'Paused', 'Progressing', 'Soaking', 'Pending', 'Complete'];

const rank = (phase: string | undefined): number => {
  const found = ORDER.indexOf(phase ?? 'Pending');
  return found < 0 ? ORDER.length : found;
};

export const nameOf = (deployment: Deployment): string => `${deployment.metadata.namespace ?? 'default'}/${deployment.metadata.name}`;

export function byAttention(a: Deployment, b: Deployment): number {
  return rank(a.status?.phase) - rank(b.status?.phase) || nameOf(a).localeCompare(nameOf(b));
}

/** How many there are of each phase, in the order of attention. */
export function phases(deployments: Deployment[]): [phase: string, count: number][] {
  const counts = new Map<string, number>();
  for (const { status } of deployments) {
    const phase = status?.phase || 'Pending';
    counts.set(phase, (counts.get(phase) ?? 0) + 1);
  }
  return [...counts].sort(([a], [b]) => rank(a) - rank(b));
}

/** The bare word of what is waited for, of `Soak: the batch is watched until …`, and the rest. */
export function splitWait(text: string): { kind: string; rest: string } {
  const [, kind = '', rest = ''] = /^([A-Z][A-Za-z]+): ([\s\S]*)$/.exec(text) ?? [];
  return kind ? { kind, rest } : { kind: '', rest: text };
}

/** The newest revision that came to its end, and what became of it. */
export function lastResult(deployment: Deployment) {
  const history = deployment.status?.history ?? [];
  return history.findLast((record) => record.finishedAt) ?? history.at(-1);
}
