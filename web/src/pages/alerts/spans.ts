/** Ends of acknowledgements and silences. */

export const CHOICES = [
  { key: 'in1h', hours: 1 },
  { key: 'in4h', hours: 4 },
  { key: 'in1d', hours: 24 },
  { key: 'in7d', hours: 168 },
] as const;

/** Days that a silence may last. */
export const LONGEST_DAYS = 31;

/**
 * An end that is as good as now, for what is ended at once: the next whole second and one more, since the engine takes none that is over
 * when it reads it.
 */
export function soon(now: number): string {
  return after(0, Math.ceil(now / 1000) * 1000 + 1000);
}

/** So many hours from a time on, to the second, as the engine reads it. */
export function after(hours: number, now: number): string {
  return new Date(Math.floor(now / 1000) * 1000 + hours * 3_600_000).toISOString().replace('.000Z', 'Z');
}
