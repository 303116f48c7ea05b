/** Values as people read them, as the command line shows them too. */
export function share(value: number, digits = 0): string {
  return `${(value * 100).toFixed(digits)} %`;
}

export function bytes(value: number, unit = 'B'): string {
  let rest = value;
  for (const prefix of ['', 'Ki', 'Mi', 'Gi', 'Ti']) {
    if (Math.abs(rest) < 1024) return prefix ? `${rest.toFixed(1)} ${prefix}${unit}` : `${rest.toFixed(0)} ${unit}`;
    rest /= 1024;
  }
  return `${rest.toFixed(1)} Pi${unit}`;
}

export function count(value: number): string {
  return value.toLocaleString('en-US').replaceAll(',', '\u202f');
}

/** A value in its unit (`ratio`, `bytes`, `bytesPerSecond`, `perSecond`, `seconds`, `count`; in any spelling). */
export function shown(value: number, unit: string): string {
  switch (unit.toLowerCase().replaceAll(/[^a-z]/g, '')) {
    case 'ratio':
      return share(value, 1);
    case 'bytes':
      return bytes(value);
    case 'bytespersecond':
      return bytes(value, 'B/s');
    case 'persecond':
      return `${value.toFixed(1)}/s`;
    case 'seconds':
      return value < 1 ? `${(value * 1000).toFixed(1)} ms` : `${value.toFixed(1)} s`;
    default:
      return Number.isInteger(value) ? count(value) : value.toFixed(2);
  }
}
