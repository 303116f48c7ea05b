// A kind of line that is new, and the change that was made just before.

import type { Change } from '@/api/types';

/** Minutes before a line in which a change may have been its cause. Alerts look back five; what is looked at by people may be wider. */
const BEFORE = 15 * 60_000;
/** Clocks differ, and a change is told when it is done: a line may come a little before. */
const AFTER = 60_000;

/** The change nearest to an instant (milliseconds), of those that can have been the cause. */
export function tied(changes: Change[], first: number): { change: Change; seconds: number } | undefined {
  let found: { change: Change; seconds: number } | undefined;
  for (const change of changes) {
    const at = Date.parse(change.at);
    if (change.kind === 'alert' || Number.isNaN(at) || at > first + AFTER || at < first - BEFORE) continue;
    const seconds = Math.round((first - at) / 1000);
    const isNearer = found === undefined || Math.abs(seconds) < Math.abs(found.seconds);
    // Of a rollout and its commit at the same time, the rollout says more.
    if (isNearer || (found && seconds === found.seconds && change.kind === 'rollout')) found = { change, seconds };
  }
  return found;
}
