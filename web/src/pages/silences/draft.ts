/** A Silence that is being written. */
import { parseName } from '@/lib/name';
import { parseSelector, type Requirement } from '@/lib/selector';
import { after, LONGEST_DAYS } from '../alerts/spans';
import type { Alert } from '../alerts/types';

export interface Matcher {
  key: string;
  value: string;
}

export interface SilenceDraft {
  namespace: string;
  matchers: Matcher[];
  /** A selector of devices, as it is typed. */
  devices: string;
  /** From now on; or `until`. */
  hours: number;
  until?: string;
  reason: string;
}

export interface Selector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'; values?: string[] }[];
}

export interface SilenceSpec {
  matchLabels?: Record<string, string>;
  devices?: Selector;
  until: string;
  reason: string;
}

export const EMPTY: SilenceDraft = { namespace: 'default', matchers: [{ key: '', value: '' }], devices: '', hours: 4, reason: '' };

/** A Silence of just this alert: of its rule on its device. */
export function fromAlert(alert: Pick<Alert, 'rule' | 'device'>): SilenceDraft {
  const [rule, device] = [parseName(alert.rule), parseName(alert.device)];
  return {
    ...EMPTY,
    namespace: device.namespace,
    matchers: [
      { key: 'rule', value: rule.name },
      { key: 'device', value: device.name },
    ],
  };
}

function expressionOf(requirement: Requirement): NonNullable<Selector['matchExpressions']>[number] {
  const { key } = requirement;
  switch (requirement.is) {
    case '=':
      return { key, operator: 'In', values: [requirement.value] };
    case '!=':
      return { key, operator: 'NotIn', values: [requirement.value] };
    case 'in':
      return { key, operator: 'In', values: requirement.values };
    case 'notin':
      return { key, operator: 'NotIn', values: requirement.values };
    case 'there':
      return { key, operator: 'Exists' };
    case 'missing':
      return { key, operator: 'DoesNotExist' };
  }
}

/** A selector as an object, of `a=b,c in (x,y)`; nothing for an empty text or one that is none. */
export function selectorObject(text: string): Selector | undefined {
  const parsed = parseSelector(text);
  if (!('requirements' in parsed) || parsed.requirements.length === 0) return undefined;
  const selector: Selector = {};
  for (const requirement of parsed.requirements) {
    if (requirement.is === '=' && selector.matchLabels?.[requirement.key] === undefined) selector.matchLabels = { ...selector.matchLabels, [requirement.key]: requirement.value };
    else selector.matchExpressions = [...(selector.matchExpressions ?? []), expressionOf(requirement)];
  }
  return selector;
}

/** The same as text. */
export function selectorText(selector: Selector | undefined): string {
  const labels = Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const expressions = (selector?.matchExpressions ?? []).map(({ key, operator, values = [] }) => {
    if (operator === 'Exists') return key;
    if (operator === 'DoesNotExist') return `!${key}`;
    return `${key} ${operator === 'In' ? 'in' : 'notin'} (${values.join(',')})`;
  });
  return [...labels, ...expressions].join(',');
}

/** What it says. Two values of one label could never both hold: the last one counts, as in the form. */
export function specOf(draft: SilenceDraft, now: number): SilenceSpec {
  const matchers = draft.matchers.filter(({ key }) => key.trim() !== '');
  const matchLabels = Object.fromEntries(matchers.map(({ key, value }) => [key.trim(), value.trim()]));
  const devices = selectorObject(draft.devices);
  return {
    ...(matchers.length > 0 && { matchLabels }),
    ...(devices && { devices }),
    until: draft.hours === 0 && draft.until ? draft.until : after(draft.hours || 1, now),
    reason: draft.reason.trim(),
  };
}

/** What it still lacks before it can be previewed, as a key of the texts. */
export function lacks(draft: SilenceDraft, now: number): 'needsMatch' | 'untilNeeded' | 'untilHint' | undefined {
  const spec = specOf(draft, now);
  if (!spec.matchLabels && !spec.devices) return 'needsMatch';
  if (draft.hours === 0 && !draft.until) return 'untilNeeded';
  const days = (Date.parse(spec.until) - now) / 86_400_000;
  return days > LONGEST_DAYS || days <= 0 ? 'untilHint' : undefined;
}

/** A name that says what it is about and is not taken twice: `silence-disk-nearly-full-web-01-1126-1405`. */
export function nameOf(draft: SilenceDraft, now: number): string {
  const at = new Date(now).toISOString();
  const words = draft.matchers.filter(({ value }) => value.trim() !== '').map(({ value }) => value);
  const about = words.join('-').toLowerCase().replaceAll(/[^a-z0-9]+/g, '-').replaceAll(/^-+|-+$/g, '');
  const when = `${at.slice(5, 7)}${at.slice(8, 10)}-${at.slice(11, 13)}${at.slice(14, 16)}`;
  return `silence-${about.slice(0, 40).replace(/-+$/, '')}${about ? '-' : ''}${when}`;
}

/** Whether it has not ended. */
export const isActive = (until: string | undefined, now: number): boolean => until !== undefined && Date.parse(until) > now;
