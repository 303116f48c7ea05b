/** Which charts a device has, of the series that there are. */
export type ChartId = 'cpu' | 'memory' | 'disks' | 'network' | 'errors' | 'load' | 'probeTimes' | 'logLines';

export interface Planned {
  id: ChartId;
  unit: string;
  series: string[];
  /** Series that are not drawn: there are too many to tell apart. */
  leftOff: number;
}

/** Lines that can be told apart in one chart. */
export const LINES = 8;

const PLAN: readonly [id: ChartId, unit: string, like: RegExp][] = [
  ['cpu', 'ratio', /^cpu\.(ratio|iowait)$/],
  ['memory', 'ratio', /^(memory|swap)\.ratio$/],
  ['disks', 'ratio', /^disks\[.+\]\.ratio$/],
  ['network', 'bytesPerSecond', /^interfaces\[.+\]\.(received|sent)$/],
  ['errors', 'perSecond', /^interfaces\[.+\]\.(receiveErrors|sendErrors|receiveDrops|sendDrops)$/],
  ['load', 'count', /^load\.(one|five|fifteen)$/],
  ['probeTimes', 'seconds', /^probes\[.+\]\.seconds$/],
  ['logLines', 'count', /^logs\.(lines|errors)$/],
];
/** Drawn and named before the others of its chart: the whole before its part, the short span before the long. */
const FIRST = ['cpu.ratio', 'load.one', 'load.five'];
/** The loopback interface says nothing about the network. */
const DULL = /^interfaces\[lo\]/;

const placeOf = (series: string): number => (FIRST.includes(series) ? FIRST.indexOf(series) : FIRST.length);

export function plan(series: readonly string[]): Planned[] {
  return PLAN.flatMap(([id, unit, like]) => {
    const found = series.filter((one) => like.test(one) && !DULL.test(one)).sort((a, b) => placeOf(a) - placeOf(b));
    return found.length === 0 ? [] : [{ id, unit, series: found.slice(0, LINES), leftOff: Math.max(0, found.length - LINES) }];
  });
}

export interface Named {
  /** Of which disk, interface or probe. */
  item: string;
  what: string;
}

/** `disks[/var].ratio` is `{item: '/var', what: 'ratio'}`, `cpu.iowait` is `{item: '', what: 'iowait'}`. */
export function takeApart(series: string): Named {
  const [, item = '', what = ''] = /^\w+\[(.*)\]\.(\w+)$/.exec(series) ?? [];
  return item ? { item, what } : { item: '', what: series.slice(series.indexOf('.') + 1) };
}
