// From when to when lines are looked for: an end that moves with the clock (`1h`), or two instants. Both fit into an address.

/** A range as the address has it. */
export type Range = { last: string } | { since: string; until: string };

/** What is offered. */
export const OFFERED = ['15m', '1h', '6h', '24h', '7d', '30d'] as const;

/** Where nothing is said. */
export const USUAL = '1h';

/** A range that moves is asked for anew with each answer; its ends are given to whole seconds, so that an answer can be kept. */
const UNITS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of `15m`; undefined if it is nothing such. */
export function milliseconds(text: string): number | undefined {
  const found = /^([1-9][0-9]{0,4})([smhd])$/.exec(text);
  const unit = UNITS[found?.[2] ?? ''];
  return found && unit !== undefined ? Number(found[1]) * unit : undefined;
}

/** Reads what the address says: `range=6h`, or `since=…&until=…`. What makes no sense is as if it were not there. */
export function rangeOf(params: URLSearchParams): Range {
  const [since, until] = [instant(params.get('since')), instant(params.get('until'))];
  if (since && until && since < until) return { since, until };
  const last = params.get('range') ?? USUAL;
  return { last: milliseconds(last) === undefined ? USUAL : last };
}

/** The same, written. */
export function rangeParams(range: Range): { range?: string; since?: string; until?: string } {
  if (!('last' in range)) return { since: range.since, until: range.until };
  return range.last === USUAL ? {} : { range: range.last };
}

/** Its two ends, in milliseconds since 1970. */
export function ends(range: Range, now: number): { from: number; to: number } {
  if ('last' in range) {
    const to = Math.floor(now / 1000) * 1000;
    return { from: to - (milliseconds(range.last) ?? 3_600_000), to };
  }
  return { from: Date.parse(range.since), to: Date.parse(range.until) };
}

function instant(text: string | null): string | undefined {
  const at = text === null ? Number.NaN : Date.parse(text);
  return Number.isNaN(at) ? undefined : new Date(at).toISOString();
}
