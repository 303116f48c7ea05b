/** What the list of devices is asked for, as the address says it. */
import type { Query } from '@/api/http';
import type { FacetCounts } from '@/api/types';

/** What the list shows of each device; nothing else is sent. */
export const FIELDS = [
  'metadata.namespace', 'metadata.name', 'metadata.labels', 'spec.type', 'spec.address', 'effective', 'status.health', 'status.update', 'status.packages', 'uses', 'lastChange',
];
/** Rows that are fetched at once: some screens full. */
export const ROWS = 200;
export const FACETS = ['health', 'update', 'site', 'type'] as const;
export type Facet = (typeof FACETS)[number];
/** What the engine sorts by. */
export const SORTED = ['name', 'health', 'update', 'site', 'type', 'address', 'cpu'];

export interface Wanted {
  q: string;
  selector: string;
  sort: string;
  facets: Readonly<Record<Facet, readonly string[]>>;
}

/** Sites are labels: they are asked for by the selector, with whatever else it says. */
export function selectorWith(selector: string, sites: readonly string[]): string {
  if (sites.length === 0) return selector;
  const site = sites.length === 1 && sites[0] !== '' ? `site=${sites[0]}` : `site in (${sites.join(',')})`;
  return selector ? `${selector},${site}` : site;
}

export function asked({ q, selector, sort, facets }: Wanted): Query {
  return {
    limit: ROWS, q, labelSelector: selectorWith(selector, facets.site), sort,
    health: facets.health, update: facets.update, type: facets.type, facets: FACETS, fields: FIELDS,
  };
}

/** Values of a facet: those that there are, the most frequent first, and those that are chosen though there are none of them now. */
export function valuesOf(counts: FacetCounts | undefined, chosen: readonly string[], usual: readonly string[] = []): [value: string, count: number][] {
  const all = new Map<string, number>(usual.map((value) => [value, 0]));
  const sorted = Object.entries(counts ?? {}).sort(([a, n], [b, m]) => m - n || a.localeCompare(b));
  for (const [value, count] of sorted) all.set(value, count);
  for (const value of chosen) if (!all.has(value)) all.set(value, 0);
  return [...all].filter(([value, count]) => count > 0 || chosen.includes(value));
}

/** antd's sort order as the engine writes it, and back. */
export function sortOf(key: string, order: 'ascend' | 'descend' | null | undefined): string {
  if (!order || !SORTED.includes(key)) return '';
  return order === 'descend' ? `-${key}` : key;
}

export function orderOf(sort: string, key: string): 'ascend' | 'descend' | null {
  if (sort === key) return 'ascend';
  return sort === `-${key}` ? 'descend' : null;
}
