/** Which stored series an expression asks for. */

/** Series that one chart shows. */
const MOST = 8;

/** `disks["/"].ratio` of an expression, as it is stored: `disks[/].ratio`. What goes through all of them has a `*`. */
export function askedFor(expr: string): string[] {
  const path = /\b(?:device\.)?(usage|logs)((?:\.[A-Za-z]\w*|\["[^"\\]{0,200}"\]|\['[^'\\]{0,200}'\]|\[[a-z]\w*\])+)/g;
  const asked = [...expr.matchAll(path)].map(([, root = '', rest = '']) => (root === 'logs' ? `logs${quoted(rest)}` : quoted(withoutMacro(rest)).slice(1)));
  // What is only a thing, such as `disks`, is no reading.
  return [...new Set(asked)].filter((series) => series.includes('.'));
}

/** A macro such as `usage.disks.exists(d, …)` names no reading itself. */
const withoutMacro = (path: string) => path.replace(/\.(?:exists|exists_one|all|filter|map|size)$/, '');

/** `["/"]` as `[/]`, and a variable that goes through all of them as `[*]`. */
const quoted = (path: string) => path.replace(/\[(?:"([^"]*)"|'([^']*)'|([a-z]\w*))\]/g, (_, double?: string, single?: string) => `[${double ?? single ?? '*'}]`);

/** Of the series that a device has, those that an expression asks for. */
export function chosen(expr: string, there: readonly string[]): string[] {
  const wanted = askedFor(expr);
  const fits = (series: string) => wanted.some((one) => (one.includes('[*]') ? series.startsWith(one.slice(0, one.indexOf('*'))) && series.endsWith(one.slice(one.indexOf('*') + 1)) : one === series));
  return there.filter(fits).slice(0, MOST);
}
