/** What a Deployment says of itself, in a few words. */
import { wordOf } from '../deployments/lanes';
import type { Deployment, DeploymentStatus, Rollout } from '../deployments/types';

type Spec = Deployment['spec'];

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** `role=web,site in (ams1,fra1)`; empty: all devices. */
export function selectorOf(spec: Spec): string {
  const selector = isObject(spec?.selector) ? spec.selector : {};
  const labels = isObject(selector.matchLabels) ? Object.entries(selector.matchLabels).map(([key, value]) => `${key}=${String(value)}`) : [];
  const expressions = Array.isArray(selector.matchExpressions) ? selector.matchExpressions.filter(isObject).map(expression) : [];
  return [...labels, ...expressions].join(',');
}

function expression({ key, operator, values }: Record<string, unknown>): string {
  const list = Array.isArray(values) ? values.map(String).join(',') : '';
  switch (operator) {
    case 'In':
      return `${String(key)} in (${list})`;
    case 'NotIn':
      return `${String(key)} notin (${list})`;
    case 'DoesNotExist':
      return `!${String(key)}`;
    default:
      return String(key);
  }
}

/** Sizes of the batches: `1 → 25% → the rest`. One device, then a tenth, if nothing is said. */
export function batchesOf(spec: Spec, rest: string): string {
  const strategy = isObject(spec?.strategy) ? spec.strategy : {};
  const batches = Array.isArray(strategy.batches) ? strategy.batches.filter(isObject).map(({ max }) => String(max)) : [];
  return [...(batches.length > 0 ? batches : ['1', '10%']), rest].join(' → ');
}

/** Devices that are in no batch yet. */
export function toCome(rollout: Pick<Rollout, 'batches' | 'history'>, status: DeploymentStatus | undefined): number {
  // What has come to its end has nothing to come.
  if (wordOf(rollout.history.at(-1)?.result) !== 'progressing') return 0;
  if (rollout.batches.some((batch) => batch.takesRest && batch.openedAt)) return 0;
  const within = new Set(rollout.batches.flatMap((batch) => batch.devices.map((device) => device.name)));
  return Math.max(0, (status?.counts?.total ?? 0) - within.size);
}

/** Why what is written can't be used, if so. */
export function stalledBy({ status }: Deployment): string | undefined {
  const found = status?.conditions?.find((condition) => condition.type === 'Stalled' && condition.status === 'True' && condition.reason === 'InvalidManifest');
  return found?.message || undefined;
}
