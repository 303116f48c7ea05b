// Devices and what they are reached through, as a forest in each site. A device with several parents stands behind the first one that is
// there; its other ways are only drawn.

import type { Topology } from '@/api/types';

/** A device as the server gives it. */
export type Given = Topology['nodes'][number];

/** A device in its place. */
export type Place = {
  /** `namespace/name`. */
  id: string;
  given: Given;
  /** All that are there. */
  parents: string[];
  /** Those that stand behind it, and in the same site. */
  children: string[];
  /** The one it stands behind; undefined at the top of its site. */
  behind?: string;
  /** It can't be reached because of this one: the topmost dead device on every way to it. */
  cutBy?: string;
};

/** The fleet in its places. */
export type Model = {
  places: Map<string, Place>;
  /** Sites in order, each with the devices at its top. */
  sites: { site: string; tops: string[]; all: string[] }[];
  /** Devices that stand behind a dead one, by that one. */
  cut: Map<string, string[]>;
};

/** Ways up that are followed; the engine follows no more either. */
const DEEPEST = 256;

/** Builds it. Circles are cut where they close, and what names nothing that is there is left out. */
export function build({ nodes, edges }: Topology): Model {
  const places = new Map<string, Place>();
  for (const given of [...nodes].sort((a, b) => compare(idOf(a), idOf(b)))) {
    places.set(idOf(given), { id: idOf(given), given, parents: [], children: [] });
  }
  for (const { parent, child } of edges) {
    const place = places.get(child);
    if (place && places.has(parent) && parent !== child && !place.parents.includes(parent)) place.parents.push(parent);
  }
  for (const place of places.values()) {
    const behind = place.parents.find((parent) => places.get(parent)?.given.site === place.given.site && !leadsTo(places, parent, place.id));
    if (behind === undefined) continue;
    place.behind = behind;
    places.get(behind)?.children.push(place.id);
  }
  const cut = findCut(places);
  return { places, sites: sitesOf(places), cut };
}

/** How a device is named here. */
export function idOf({ namespace, name }: { namespace: string; name: string }): string {
  return `${namespace}/${name}`;
}

/** Whether the way up from one leads to the other. */
function leadsTo(places: Map<string, Place>, from: string, to: string): boolean {
  let at: string | undefined = from;
  for (let step = 0; at !== undefined && step < DEEPEST; step++) {
    if (at === to) return true;
    at = places.get(at)?.behind;
  }
  return at !== undefined;
}

function sitesOf(places: Map<string, Place>): Model['sites'] {
  const sites = new Map<string, { site: string; tops: string[]; all: string[] }>();
  for (const place of places.values()) {
    const site = sites.get(place.given.site) ?? { site: place.given.site, tops: [], all: [] };
    sites.set(place.given.site, site);
    site.all.push(place.id);
    if (place.behind === undefined) site.tops.push(place.id);
  }
  return [...sites.values()].sort((a, b) => Number(a.site === '') - Number(b.site === '') || compare(a.site, b.site));
}

/** As the engine judges it: a device is cut off if every parent is dead or cut off itself; the root is the topmost by the first parents. */
function findCut(places: Map<string, Place>): Map<string, string[]> {
  const known = new Map<string, boolean>();
  const isOut = (id: string): boolean => places.get(id)?.given.health === 'Unreachable' || isCut(id);
  const isCut = (id: string): boolean => {
    const before = known.get(id);
    if (before !== undefined) return before;
    known.set(id, false);
    const parents = places.get(id)?.parents ?? [];
    const found = parents.length > 0 && parents.every(isOut);
    known.set(id, found);
    return found;
  };
  const cut = new Map<string, string[]>();
  for (const place of places.values()) {
    if (!isCut(place.id)) continue;
    let root = place.id;
    for (let step = 0; step < DEEPEST && isCut(root); step++) root = places.get(root)?.parents[0] ?? root;
    place.cutBy = root;
    cut.set(root, [...(cut.get(root) ?? []), place.id]);
  }
  return cut;
}

/** Orders names as people count: `web-2` before `web-10`. */
export function compare(a: string, b: string): number {
  return order.compare(a, b);
}
const order = new Intl.Collator('en', { numeric: true });

/** A row of the drawing: a device, or several that are alike and drawn as one. */
export type Row =
  | { kind: 'device'; id: string; depth: number; place: Place; opens: boolean; isOpen: boolean }
  | { kind: 'bundle'; id: string; depth: number; of: string; devices: string[] };

/** What the reader chose. */
export type Choice = {
  /** Opened and closed by hand, by id. */
  open: ReadonlyMap<string, boolean>;
  /** Only devices that this is true of, with what they stand behind. */
  wanted?: ((place: Place) => boolean) | undefined;
};

/** Healthy devices without children beside each other that are drawn one by one; more become a bundle. */
export const BUNDLE = 8;
/** Devices behind one that are drawn without being asked for, where the whole fleet has more than `MANY`. */
export const MANY = 150;

/** What of a site is drawn, from the top down, each behind what it is reached through. */
export function rows(model: Model, site: Model['sites'][number], choice: Choice): Row[] {
  const shown = choice.wanted && wantedWith(model, site.all, choice.wanted);
  const found: Row[] = [];
  const isLarge = model.places.size > MANY;
  const draw = (parent: string, ids: string[], depth: number): void => {
    const visible = shown ? ids.filter((id) => shown.has(id)) : ids;
    const bundleId = `${parent}>`;
    const plain = shown ? [] : visible.filter((id) => isPlain(model, id));
    const bundled = plain.length > BUNDLE && choice.open.get(bundleId) !== true ? new Set(plain) : undefined;
    for (const id of visible) {
      const place = model.places.get(id);
      if (!place || bundled?.has(id)) continue;
      const opens = place.children.length > 0;
      const isOpen = opens && (choice.open.get(id) ?? (shown !== undefined || !isLarge || depth === 0 || isIll(model, id)));
      found.push({ kind: 'device', id, depth, place, opens, isOpen });
      if (isOpen && depth < DEEPEST) draw(id, place.children, depth + 1);
    }
    if (bundled) found.push({ kind: 'bundle', id: bundleId, depth, of: parent, devices: plain });
  };
  draw(`site:${site.site}`, site.tops, 0);
  return found;
}

/** Well, without alerts, and nothing behind it. */
function isPlain(model: Model, id: string): boolean {
  const place = model.places.get(id);
  return place !== undefined && place.children.length === 0 && place.given.health === 'Healthy' && place.given.alerts === 0;
}

/** It, or something behind it, is not well. */
function isIll(model: Model, id: string): boolean {
  return below(model, id).some((below) => {
    const given = model.places.get(below)?.given;
    return given !== undefined && (given.health !== 'Healthy' || given.alerts > 0);
  });
}

/** A device and all that stand behind it. */
export function below(model: Model, id: string): string[] {
  const found = [id];
  for (let at = 0; at < found.length; at++) found.push(...(model.places.get(found[at] ?? '')?.children ?? []));
  return found;
}

function wantedWith(model: Model, ids: string[], wanted: (place: Place) => boolean): Set<string> {
  const shown = new Set<string>();
  for (const id of ids) {
    const place = model.places.get(id);
    if (!place || !wanted(place)) continue;
    for (let at: string | undefined = id; at !== undefined && !shown.has(at); at = model.places.get(at)?.behind) shown.add(at);
  }
  return shown;
}

/** How many are how. */
export function count(model: Model, ids: string[]): Record<Given['health'], number> & { alerts: number } {
  const counted = { Healthy: 0, Degraded: 0, Unreachable: 0, Unknown: 0, alerts: 0 };
  for (const id of ids) {
    const given = model.places.get(id)?.given;
    if (!given) continue;
    counted[given.health in counted ? given.health : 'Unknown'] += 1;
    counted.alerts += given.alerts;
  }
  return counted;
}
