import { describe, expect, it } from 'vitest';

import type { Topology } from '@/api/types';
import { follow, layout, seeAll, step, zoom } from './layout';
import { below, build, type Choice, count, type Model, type Row, rows } from './model';

type Node = Topology['nodes'][number];

const node = (name: string, more: Partial<Node> = {}): Node => ({ namespace: 'default', name, type: 'Server', site: 'ams1', health: 'Healthy', alerts: 0, ...more });
const edge = (parent: string, child: string): Topology['edges'][number] => ({ parent: `default/${parent}`, child: `default/${child}` });
const NONE: Choice = { open: new Map() };
const drawn = (model: Model, choice = NONE): string[] =>
  model.sites.flatMap((site) => [`# ${site.site}`, ...rows(model, site, choice).map((row) => '  '.repeat(row.depth) + nameOf(row))]);
const nameOf = (row: Row): string => (row.kind === 'bundle' ? `+${row.devices.length}` : row.id.replace('default/', ''));

describe('the model', () => {
  it('puts devices behind what they are reached through, by site, counting as people do', () => {
    const model = build({
      nodes: [node('web-10'), node('web-2'), node('sw'), node('core'), node('fra', { site: 'fra1' }), node('lone', { site: '' })],
      edges: [edge('sw', 'web-10'), edge('sw', 'web-2'), edge('core', 'sw'), edge('core', 'fra')],
      hidden: 0,
    });
    expect(drawn(model)).toEqual(['# ams1', 'core', '  sw', '    web-2', '    web-10', '# fra1', 'fra', '# ', 'lone']);
  });

  it('knows what a dead parent cuts off, as the engine does: all ways have to be dead, and the topmost is named', () => {
    const model = build({
      nodes: [node('core', { health: 'Unreachable' }), node('sw', { health: 'Unknown' }), node('other'), node('web', { health: 'Unknown' }), node('two')],
      edges: [edge('core', 'sw'), edge('sw', 'web'), edge('sw', 'two'), edge('other', 'two')],
      hidden: 0,
    });
    expect(model.cut).toEqual(new Map([['default/core', ['default/sw', 'default/web']]]));
    expect(model.places.get('default/two')?.cutBy).toBeUndefined();
  });

  it('stands circles, strangers and doubles', () => {
    const model = build({
      nodes: [node('a'), node('b'), node('self', { health: 'Unreachable' })],
      edges: [edge('a', 'b'), edge('b', 'a'), edge('self', 'self'), edge('a', 'b'), edge('gone', 'a'), edge('a', 'gone')],
      hidden: 0,
    });
    const [site] = model.sites;
    expect(site && rows(model, site, NONE).map(nameOf).sort()).toEqual(['a', 'b', 'self']);
    expect(model.cut.size).toBe(0);
  });

  it('draws many that are well as one, and each that is not', () => {
    const webs = Array.from({ length: 20 }, (_, at) => node(`web-${at}`, at === 3 ? { health: 'Degraded' } : at === 5 ? { alerts: 2 } : {}));
    const model = build({ nodes: [node('sw'), ...webs], edges: webs.map((web) => edge('sw', web.name)), hidden: 0 });
    expect(drawn(model)).toEqual(['# ams1', 'sw', '  web-3', '  web-5', '  +18']);
    expect(drawn(model, { open: new Map([['default/sw>', true]]) })).toHaveLength(22);
    expect(drawn(model, { open: new Map([['default/sw', false]]) })).toEqual(['# ams1', 'sw']);
    const ill = (place: { given: Node }): boolean => place.given.health !== 'Healthy';
    expect(drawn(model, { open: new Map(), wanted: ill })).toEqual(['# ams1', 'sw', '  web-3']);
    expect(count(model, below(model, 'default/sw'))).toEqual({ Healthy: 20, Degraded: 1, Unreachable: 0, Unknown: 0, alerts: 2 });
  });

  it('keeps a large fleet small until it is asked for more', () => {
    const nodes = [node('core')];
    const edges = [];
    for (let rack = 0; rack < 40; rack++) {
      nodes.push(node(`sw-${rack}`));
      edges.push(edge('core', `sw-${rack}`));
      for (let at = 0; at < 25; at++) {
        nodes.push(node(`web-${rack}-${at}`, rack === 7 && at === 1 ? { health: 'Degraded' } : {}));
        edges.push(edge(`sw-${rack}`, `web-${rack}-${at}`));
      }
    }
    const model = build({ nodes, edges, hidden: 0 });
    const lines = drawn(model);
    expect(lines.length).toBeLessThan(60);
    expect(lines).toContain('    web-7-1');
  });
});

describe('the layout', () => {
  const webs = ['web-1', 'web-2'].map((name) => node(name));
  const fra = node('fra', { site: 'fra1' });
  const model = build({ nodes: [node('sw'), ...webs, fra], edges: [edge('sw', 'web-1'), edge('sw', 'web-2'), edge('sw', 'fra')], hidden: 0 });
  const sites = model.sites.map((site) => ({ site: site.site, rows: rows(model, site, NONE) }));
  const drawing = layout(model, sites, 2);

  it('lets nothing lie on anything else', () => {
    const [ams, second] = drawing.boxes;
    const apart = ams && second && (second.x >= ams.x + ams.width || second.y >= ams.y + ams.height);
    expect(apart).toBe(true);
    const ys = ams?.rows.map((placed) => placed.y) ?? [];
    expect([...new Set(ys)]).toEqual(ys);
    expect(drawing.lines.map((line) => [line.to, line.isOther])).toEqual([
      ['default/web-1', false],
      ['default/web-2', false],
      ['default/fra', true],
    ]);
  });

  it('is empty of nothing', () => {
    expect(layout(build({ nodes: [], edges: [], hidden: 0 }), [], 1)).toEqual({ boxes: [], lines: [], width: 0, height: 0 });
  });

  it('is walked through by keys', () => {
    const walk = (from: string, key: Parameters<typeof step>[2]): string | undefined => step(drawing.boxes, from, key);
    expect(walk('default/sw', 'right')).toBe('default/web-1');
    expect(walk('default/web-1', 'down')).toBe('default/web-2');
    expect(walk('default/web-2', 'left')).toBe('default/sw');
    expect(walk('default/web-2', 'right')).toBeUndefined();
    expect(walk('default/web-2', 'down')).toBe('default/fra');
    expect(walk('default/fra', 'first')).toBe('default/sw');
    expect(walk('nothing', 'down')).toBe('default/sw');
  });

  it('is looked at from nearer and farther, within bounds', () => {
    const eye = seeAll(drawing, 800, 600);
    expect(eye.scale).toBe(1);
    expect(seeAll({ ...drawing, width: 1e6, height: 1e6 }, 800, 600).scale).toBeGreaterThan(0.1);
    const near = zoom(eye, 2, 100, 50);
    expect((100 - near.x) / near.scale).toBeCloseTo((100 - eye.x) / eye.scale);
    expect(zoom(eye, 1e9, 0, 0).scale).toBeLessThan(10);
    const [placed] = drawing.boxes[0]?.rows ?? [];
    expect(placed && follow({ x: -5000, y: 0, scale: 1 }, placed, 800, 600).x).toBe(24 - (placed?.x ?? 0));
  });
});
