/** The life of an alert, in the order in which it happened. */
import type { AlertDetail } from '../alerts/types';

export type Happening =
  | { at: string; kind: 'began' | 'resolved' }
  | { at: string; kind: 'fired'; value?: string }
  | { at: string; kind: 'changed'; deployment: string; revision: string; commit: string }
  | { at: string; kind: 'acknowledged'; by: string; comment: string; until: string }
  | { at: string; kind: 'decided'; what: string; why: string }
  | { at: string; kind: 'said'; receiver: string; reason: string }
  | { at: string; kind: 'failed'; receiver: string; reason: string; problem: string };

/** Of what happened at one instant: the cause before what followed from it. */
const ORDER: Record<Happening['kind'], number> = { changed: 0, began: 1, fired: 2, decided: 3, acknowledged: 4, resolved: 5, said: 6, failed: 6 };

/** States of the alert itself, as the engine writes them down. */
const STATES = new Set(['pending', 'firing', 'resolved']);

/** The engine writes down what it does within a moment of doing it. */
const isOnce = (a: string | null | undefined, b: string): boolean => a != null && Math.abs(Date.parse(a) - Date.parse(b)) < 1000;

export function timelineOf(alert: AlertDetail): Happening[] {
  const happened: Happening[] = [{ at: alert.activeAt, kind: 'began' }];
  const fired = alert.decisions.flatMap(({ at, why = '' }) => (isOnce(alert.firedAt, at) ? (/^firing at (\S+)$/.exec(why)?.[1] ?? []) : []))[0];
  if (alert.firedAt) happened.push({ at: alert.firedAt, kind: 'fired', ...(fired && { value: fired }) });
  if (alert.resolvedAt) happened.push({ at: alert.resolvedAt, kind: 'resolved' });
  if (alert.lastChange) {
    const { at, deployment, revision, commit } = alert.lastChange;
    happened.push({ at, kind: 'changed', deployment, revision, commit });
  }
  if (alert.acknowledged) {
    const { at, by, comment, until } = alert.acknowledged;
    happened.push({ at, kind: 'acknowledged', by, comment, until });
  }
  for (const { at, what, why = '', receiver } of alert.decisions) {
    const about = what || receiver || '';
    // Its states and who looks after it have their own entries.
    if (about === '' && (STATES.has(why) || (isOnce(alert.firedAt, at) && why.startsWith('firing at ')))) continue;
    if (about === '' && alert.acknowledged && isOnce(alert.acknowledged.at, at) && why.startsWith(`acknowledged by ${alert.acknowledged.by} `)) continue;
    happened.push({ at, kind: 'decided', what: about, why });
  }
  for (const { receiver, at, reason, problem } of alert.said) {
    const word = typeof reason === 'string' ? reason : JSON.stringify(reason);
    happened.push(problem ? { at, kind: 'failed', receiver, reason: word, problem } : { at, kind: 'said', receiver, reason: word });
  }
  return happened.sort((a, b) => Date.parse(a.at) - Date.parse(b.at) || ORDER[a.kind] - ORDER[b.kind]);
}
