/** Notices as the engine's outbox has them, and what they say of their receivers. */

export interface Said {
  id: string;
  device?: string;
  rule?: string;
  summary?: string;
}

export interface Notice {
  notice: {
    id: string;
    receiver: string;
    reason: string;
    at: string;
    firing?: Said[];
    resolved?: Said[];
    instead?: { of: string; problem?: string } | null;
  };
  attempts: number;
  dueAt?: string | null;
  finishedAt?: string | null;
  isDead: boolean;
  problem: string;
}

export type Outcome = 'said' | 'given' | 'due';

export function outcomeOf({ isDead, finishedAt }: Notice): Outcome {
  if (isDead) return 'given';
  return finishedAt ? 'said' : 'due';
}

export interface Record {
  lastSaid?: string;
  dead: number;
  waiting: number;
  /** Of the newest that could not be delivered since something was. */
  problem?: string;
}

/** Names are written with and without the namespace `default`. */
export const plainName = (name = ''): string => name.replace(/^default\//, '');

/** When it was over, or when it was said. */
const endOf = ({ finishedAt, notice }: Notice): string => finishedAt ?? notice.at ?? '';

/** What was delivered to each receiver, and what was not since then; by its name. */
export function records(notices: Notice[]): Map<string, Record> {
  const found = new Map<string, Record>();
  const newestFirst = [...notices].sort((a, b) => endOf(b).localeCompare(endOf(a)));
  for (const one of newestFirst) {
    const name = plainName(one.notice.receiver);
    const record: Record = found.get(name) ?? { dead: 0, waiting: 0 };
    found.set(name, record);
    switch (outcomeOf(one)) {
      case 'said':
        record.lastSaid ??= one.finishedAt ?? undefined;
        break;
      case 'due':
        record.waiting += 1;
        if (one.problem) record.problem ??= one.problem;
        break;
      case 'given':
        // What was given up before something arrived is over.
        if (record.lastSaid) break;
        record.dead += 1;
        record.problem ??= one.problem;
    }
  }
  return found;
}
