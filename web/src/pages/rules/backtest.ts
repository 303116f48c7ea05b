/** What came of a back-test, put together for a person to judge a rule by. */

export interface Firing {
  from: string;
  to?: string | null;
  value?: number | null;
  inRollouts: number;
}

export interface Course {
  device: string;
  firings: Firing[];
  more: number;
  fired: number;
  inRollouts: number;
  unknown: number;
  reason?: string;
  cut?: boolean;
}

export interface BacktestAnswer {
  selected: number;
  devices: Course[];
  readings?: number;
  next?: string | null;
  notKept?: string[];
  asOfToday?: boolean;
  from?: string | number;
  to?: string | number;
}

export interface Summary {
  /** Times that it would have fired. */
  firings: number;
  /** Devices on which it would have. */
  devices: number;
  of: number;
  /** Seconds, over all devices. */
  fired: number;
  inRollouts: number;
  unknown: number;
  /** Seconds that one firing took: the median. */
  typical: number;
  /** Of the time that was looked at, the share of which nobody can say how it was: 0 to 1. */
  unknownShare: number;
  /** A firing each so many seconds of the time looked at; nothing where there was none. */
  every?: number;
  /** Those that fired most, first. */
  worst: Course[];
}

const seconds = (text: string): number => Date.parse(text) / 1000;

/** Seconds that a firing took; one that is not over lasts until the end of what was looked at. */
export const lengthOf = (firing: Firing, to: number): number => Math.max(0, (firing.to ? seconds(firing.to) : to) - seconds(firing.from));

function median(values: number[]): number {
  if (values.length === 0) return 0;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** `from` and `to` in seconds since 1970. */
export function summarize(answer: BacktestAnswer, from: number, to: number): Summary {
  const count = (course: Course) => course.firings.length + course.more;
  const sum = (of: (course: Course) => number) => answer.devices.reduce((total, course) => total + of(course), 0);
  const firings = sum(count);
  const summary: Summary = {
    firings,
    devices: answer.devices.filter((course) => count(course) > 0).length,
    of: answer.selected,
    fired: sum((course) => course.fired),
    inRollouts: sum((course) => course.inRollouts),
    unknown: sum((course) => course.unknown),
    unknownShare: Math.min(1, sum((course) => course.unknown) / Math.max(1, answer.devices.length * (to - from))),
    typical: median(answer.devices.flatMap((course) => course.firings.map((firing) => lengthOf(firing, to)))),
    worst: [...answer.devices].filter((course) => count(course) > 0).sort((a, b) => count(b) - count(a) || b.fired - a.fired || a.device.localeCompare(b.device)),
  };
  if (firings > 0) summary.every = (to - from) / firings;
  return summary;
}

/** A page more of the same back-test. */
export function joined(before: BacktestAnswer | undefined, page: BacktestAnswer): BacktestAnswer {
  if (!before) return page;
  return {
    ...page,
    devices: [...before.devices, ...page.devices],
    readings: (before.readings ?? 0) + (page.readings ?? 0),
    notKept: [...new Set([...(before.notKept ?? []), ...(page.notKept ?? [])])],
  };
}

/** Where on a strip from 0 to 1 the firings of a device are; what is too short to be seen has a width all the same. */
export function strip(course: Course, from: number, to: number, least = 0.002): { start: number; width: number; firing: Firing }[] {
  const span = to - from;
  if (span <= 0) return [];
  return course.firings.map((firing) => {
    const start = Math.min(1, Math.max(0, (seconds(firing.from) - from) / span));
    const end = Math.min(1, Math.max(0, ((firing.to ? seconds(firing.to) : to) - from) / span));
    return { start: Math.min(start, 1 - least), width: Math.max(least, end - start), firing };
  });
}

/** Seconds of `30d`, `12h`, `1w`. */
export function spanOf(text: string): number | undefined {
  const match = /^(\d{1,4})([mhdw])$/.exec(text.trim());
  if (!match) return undefined;
  const unit = { m: 60, h: 3600, d: 86_400, w: 604_800 }[match[2] as 'm' | 'h' | 'd' | 'w'];
  return Number(match[1]) * unit;
}
