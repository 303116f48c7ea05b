// A mock of the engine for writing pages: it answers /api/v1 from fixtures, in memory, on loopback. It proves nothing about the engine.
//   admin / evenkeel may everything, viewer / evenkeel only looks. MOCK_FIRST=1: nobody is known yet. MOCK_DEVICES=100000: a large fleet.
//   It also serves dist/ (`npm run build`) under the policy that the engine serves it under.
//   MOCK_ENGINE=/path/of/a/socket: all but signing in is asked of a real engine, as whoever has its socket.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, request as ask } from 'node:http';
import { extname, normalize } from 'node:path';
import { COMMIT, ago, deployments, fleet, others } from './fleet.mjs';
import { backtest, living, notices } from './living.mjs';
import { alertDetail, alerts, audit, changes, line, lines, probes, proof, samples, senders, seriesOf, templates } from './watch.mjs';

const PORT = Number(process.env.MOCK_PORT ?? 4200);
const devices = fleet(Number(process.env.MOCK_DEVICES ?? 24));
const objects = { devices, deployments, ...others };
let needsFirst = process.env.MOCK_FIRST === '1';
const sessions = new Map();
const listeners = new Set();
let event = 0;
let tailed = 60_000;

const person = (name, more) => ({ name, displayName: name, email: `${name}@example.com`, groups: [], isAdmin: false, kind: 'local', ...more });
const people = { admin: person('admin', { displayName: 'Ada Admin', groups: ['admins'], isAdmin: true }), viewer: person('viewer', { displayName: 'Vic Viewer', groups: ['everyone'] }) };
const users = [
  { ...people.admin, disabled: false, createdAt: ago(86400 * 40), lastSignIn: ago(60), sessions: 1, tokens: 2 },
  { ...people.viewer, disabled: false, createdAt: ago(86400 * 30), lastSignIn: ago(86400 * 2), sessions: 0, tokens: 0 },
  { ...person('alice@example.com', { displayName: 'Alice de Vries', groups: ['dba'], kind: 'oidc' }), disabled: false, createdAt: ago(86400 * 20), lastSignIn: ago(5100), sessions: 2, tokens: 1 },
  { ...person('mallory', { groups: [] }), disabled: true, lockedUntil: new Date(Date.now() + 600e3).toISOString(), createdAt: ago(86400 * 9), sessions: 0, tokens: 0 },
];
const tokens = [
  { id: 't-1', name: 'ci', user: 'admin', prefix: 'ek_3fA9', scopes: [{ verbs: ['view', 'deploy'], kinds: ['Deployment'] }], createdAt: ago(86400 * 12), expiresAt: new Date(Date.now() + 86400e3 * 78).toISOString(), lastUsedAt: ago(1200), lastUsedFrom: '10.10.0.5' },
  { id: 't-2', name: 'dashboard', user: 'admin', prefix: 'ek_Qw71', scopes: [], createdAt: ago(86400 * 88), expiresAt: new Date(Date.now() + 86400e3 * 2).toISOString() },
];
const source = { url: 'https://git.example.com/platform/fleet.git', inForce: COMMIT, author: 'Mei Lin <mei@example.com>', signer: 'mei SHA256:3x9FzQ0vJYc1n2uYB8mKq7l5dTqk4pS6wHhE0aRZbLk', checkedAt: ago(22), problem: null, tooFar: { id: '9d2e77f0', reason: '3 of 24 devices would be removed (12 %, the limit is 10 %)', deleted: 3, touched: 3 }, findings: ['devices/fra1.yaml:88: Device/app-fra1-02: `class: app-srv` is no DeviceClass: did you mean `app-server`?'] };

class No extends Error {
  constructor(status, detail, more = {}) {
    super(detail);
    Object.assign(this, { status, more });
  }
}
const TITLES = { 400: 'Bad Request', 401: 'Unauthorized', 403: 'Forbidden', 404: 'Not Found', 409: 'Conflict', 422: 'Unprocessable Content' };

function body(request) {
  return new Promise((done, fail) => {
    let text = '';
    request.on('data', (part) => {
      text += part;
      if (text.length > 1 << 20) fail(new No(413, 'at most 1 MiB'));
    });
    request.on('end', () => {
      try {
        done(text ? JSON.parse(text) : {});
      } catch {
        fail(new No(400, 'the body is no JSON'));
      }
    });
  });
}

const nameOf = (one) => `${one.metadata.namespace}/${one.metadata.name}`;
const called = (list, ns, name) => list.find((one) => one.metadata.namespace === ns && one.metadata.name === name) ?? (() => { throw new No(404, `there is no ${name}`); })();

function matches(selector, labels) {
  return (selector.match(/[^,(]+(\([^)]*\))?/g) ?? []).map((part) => part.trim()).filter(Boolean).every((part) => {
    const among = /^(\S+)\s+(in|notin)\s*\((.*)\)$/.exec(part);
    if (among) return among[3].split(',').map((value) => value.trim()).includes(labels[among[1]]) === (among[2] === 'in');
    const compared = /^([^=!]+)(!=|==?)(.*)$/.exec(part);
    if (compared) return (labels[compared[1]] === compared[3]) === (compared[2] !== '!=');
    return part.startsWith('!') ? !(part.slice(1) in labels) : part in labels;
  });
}

/** Alerts that are over: each that was resolved lately, and once more for each of some days before. */
function past(query) {
  const days = Array.from({ length: 12 }, (_, day) => day * 2);
  const one = alerts.filter(({ state, rule, severity }) => state === 'resolved' && [undefined, null, '', rule].includes(query.get('rule')) && [undefined, null, '', severity].includes(query.get('severity')));
  const before = (time, day) => new Date(Date.parse(time) - day * 86400e3).toISOString();
  return days.flatMap((day) => one.map((alert) => ({ ...alert, id: day ? `${alert.id}-${day}` : alert.id, activeAt: before(alert.activeAt, day), firedAt: before(alert.firedAt ?? alert.activeAt, day), resolvedAt: before(alert.resolvedAt, day) })));
}

function page(items, query, more = {}) {
  const from = Number(query.get('cursor') ?? 0);
  const limit = Math.min(Number(query.get('limit') ?? 100), 1000);
  return { items: items.slice(from, from + limit), total: items.length, cursor: from + limit < items.length ? String(from + limit) : null, ...more };
}

function count(found, read) {
  const counts = {};
  for (const one of found) counts[read(one)] = (counts[read(one)] ?? 0) + 1;
  return counts;
}

const SORTS = { name: nameOf, health: (one) => one.status?.health ?? '', update: (one) => one.status?.update ?? '', site: (one) => one.metadata.labels?.site ?? '', type: (one) => one.spec.type ?? '', address: (one) => one.spec.address ?? '', cpu: (one) => one.uses?.usage?.values['cpu.ratio'] ?? -1, memory: (one) => one.uses?.usage?.values['memory.ratio'] ?? -1, disk: (one) => one.uses?.usage?.values['disks[/].ratio'] ?? -1 };

function listed(plural, query) {
  const q = (query.get('q') ?? '').toLowerCase().split(/\s+/).filter(Boolean);
  const among = (key, read) => {
    const wanted = query.get(key)?.split(',');
    return (one) => !wanted || wanted.includes(read(one));
  };
  const filters = [among('health', SORTS.health), among('type', SORTS.type), among('update', SORTS.update)];
  let found = (plural === 'deployments' ? alive.all() : objects[plural]).filter((one) => {
    const labels = one.metadata.labels ?? {};
    const words = `${nameOf(one)} ${one.spec.address ?? ''} ${Object.entries(labels).join(' ')}`.toLowerCase();
    return filters.every((fits) => fits(one)) && q.every((word) => words.includes(word)) && matches(query.get('labelSelector') ?? '', labels);
  });
  const sort = query.get('sort') ?? 'name';
  const read = SORTS[sort.replace('-', '')] ?? nameOf;
  found = [...found].sort((a, b) => (read(a) < read(b) ? -1 : read(a) > read(b) ? 1 : 0) * (sort.startsWith('-') ? -1 : 1));
  const facets = query.get('facets')?.split(',');
  const counted = facets && Object.fromEntries(facets.map((facet) => [facet, count(found, SORTS[facet])]));
  return page(found, query, counted ? { facets: counted } : {});
}

function loglines(query) {
  const like = query.get('q') ? new RegExp(query.get('q'), 'i') : undefined;
  const most = query.get('severity') ? Number(query.get('severity')) : 7;
  return lines.filter((one) => (!query.get('device') || one.device === query.get('device').replace('default/', '')) && (!like || like.test(one.text)) && one.severity <= most && (!query.get('program') || one.program === query.get('program')) && (!query.get('template') || one.template === query.get('template')));
}

/** As the engine: a question that it does not understand is refused, and the next page is before the last entry. */
function entries(query) {
  for (const key of query.keys()) if (!['about', 'actor', 'q', 'before', 'limit'].includes(key)) throw new No(400, `${key}: there is no such parameter`);
  const [about, actor = '', q = ''] = ['about', 'actor', 'q'].map((key) => query.get(key) ?? undefined);
  const isAbout = (target) => target === about || target.replace('/', '/default/') === about;
  const before = Number(query.get('before') ?? Number.POSITIVE_INFINITY);
  const found = audit.filter((one) => one.index < before && (!about || isAbout(one.target) || isAbout(one.unit)) && one.actor.name.includes(actor) && JSON.stringify(one).includes(q));
  const items = found.slice(0, Number(query.get('limit') ?? 100));
  return { items, cursor: items.length < found.length ? String(items.at(-1).index) : null };
}

function overview() {
  const firing = alerts.filter((one) => one.state === 'firing' && one.suppressed.length === 0);
  const by = (list, key) => list.reduce((counts, one) => ({ ...counts, [key(one)]: (counts[key(one)] ?? 0) + 1 }), {});
  return {
    wrong: { alerts: { critical: 0, warning: 0, info: 0, ...by(firing, (one) => one.severity) }, suppressed: alerts.filter((one) => one.state === 'firing' && one.suppressed.some(({ kind }) => !/^(parent|returned)$/i.test(kind))).length, devices: { Healthy: 0, Degraded: 0, Unreachable: 0, Unknown: 0, ...by(devices, SORTS.health) }, top: firing.slice(0, 10), undelivered: [{ receiver: 'default/night-shift', count: 1, since: ago(8000), last: ago(900), problem: '402 Payment Required' }], ownNetworkDown: false, notReady: null },
    changing: { rollouts: deployments.filter((one) => !['Complete', 'RolledBack'].includes(one.status.phase)).map((one) => ({ deployment: one.metadata.name, phase: one.status.phase, updated: one.status.counts.updated, total: one.status.counts.total, waits: one.status.waitingOn })), more: 0 },
    last: audit.slice(0, 10).map((one) => ({ at: one.at, actor: one.actor.name, what: one.message || one.verb, target: one.target })),
    source, logs: { lines: 48211, errors: 12, newTemplates: 1 },
  };
}

const written = (plural, body, query) => {
  const name = body.metadata?.name;
  if (!name) throw new No(422, 'the object has no name', { errors: [{ pointer: '/metadata/name', detail: 'is missing' }] });
  if (body.spec?.address === 'nonsense') throw new No(422, 'it is not valid', { errors: [{ pointer: '/spec/address', detail: '`nonsense` is neither an IP address nor a DNS name', file: `${plural}/ams1.yaml`, line: 6 }] });
  if (query.get('dryRun')) return [200, { diff: `--- a/devices/ams1.yaml\n+++ b/devices/ams1.yaml\n@@ -10,7 +10,7 @@\n kind: Device\n metadata: {name: ${name}}\n spec:\n-  address: 10.10.0.11\n+  address: ${body.spec?.address ?? '10.10.0.99'}\n   class: web-server\n`, findings: [], file: 'devices/ams1.yaml' }];
  return [202, { commit: '77aa12bc90', branch: 'main', message: `${name}: changed by admin`, url: 'https://git.example.com/platform/fleet/commit/77aa12bc90' }, { Location: '/api/v1/commits/77aa12bc90' }];
};

/** `[method, pattern, answer]`; parts beginning with `:` are given to the answer. */
const ROUTES = [
  ['GET', '/access', ({ me }) => ({ isAdmin: me.isAdmin, verbs: Object.fromEntries(['Device', 'Deployment', 'AlertRule', 'Role', 'Repository', 'Receiver', 'Silence', 'DeviceClass', 'Alert', 'Audit', 'Log'].map((kind) => [kind, me.isAdmin ? ['view', 'edit', 'deploy', 'rollback', 'approve', 'silence', 'acknowledge'] : ['view']])) })],
  ['GET', '/can', ({ me, query }) => ({ allowed: me.isAdmin || query.get('verb') === 'view', reason: me.isAdmin ? 'you are an administrator' : query.get('verb') === 'view' ? 'role readers' : `no role of viewer allows ${query.get('verb')}`, role: me.isAdmin ? undefined : 'readers' })],
  ['GET', '/overview', overview],
  ['GET', '/status', () => ({ source, devices: devices.length, deployments: deployments.length, passes: 9912 })],
  ['GET', '/topology', () => ({ nodes: devices.slice(0, 400).map((one) => ({ namespace: 'default', name: one.metadata.name, type: one.spec.type, site: one.metadata.labels.site, health: one.status.health, alerts: alerts.filter((alert) => alert.device === one.metadata.name && alert.state === 'firing').length })), edges: devices.slice(0, 400).flatMap((one) => (one.spec.parents ?? []).map((parent) => ({ parent: `default/${parent}`, child: nameOf(one) }))), hidden: 0 })],
  ['GET', '/devices/:ns/:name/explain', ({ ns, name }) => ({ text: `device/${name} is ${called(devices, ns, name).status.health}\n\n  probe web fails since 16 minutes: GET /healthz: 503 Service Unavailable (wanted 200)\n  it is out of date: deployment/nginx wants 1.26.2-1, it has 1.24.0-1\n    waits for batch 1 to soak, 6 more minutes (nobody need do anything)\n  1 deviation: /etc/nginx/conf.d/limits.conf was changed by hand 2 hours ago\n` })],
  ['GET', '/devices/:ns/:name/usage', ({ ns, name }) => called(devices, ns, name).uses ?? (() => { throw new No(404, `device/${name} has not been read by this replica yet`); })()],
  ['GET', '/devices/:ns/:name/series', ({ ns, name }) => seriesOf(called(devices, ns, name))],
  ['GET', '/devices/:ns/:name/changes', ({ ns, name }) => ({ items: changes(called(devices, ns, name)) })],
  ['GET', '/devices/:ns/:name/probes', ({ ns, name }) => ({ items: probes(called(devices, ns, name), 86400) })],
  ['POST', '/devices/:ns/:name/look', () => [202, { message: 'it is being looked at' }]],
  ['GET', '/samples', ({ query }) => {
    const [ns, name] = query.get('device').includes('/') ? query.get('device').split('/') : ['default', query.get('device')];
    const all = query.getAll('series').map((series) => samples(called(devices, ns, name), series, Number(query.get('from')), Number(query.get('to')), Number(query.get('points') ?? 300)));
    return all.length === 1 ? all[0] : { items: all };
  }],
  ['GET', '/rollouts/:ns/:name', ({ name }) => alive.rollout(name) ?? (() => { throw new No(404, 'never rolled out'); })()],
  ['GET', '/deployments/:ns/:name/explain', ({ name }) => ({ text: `deployment/${name}: ${deployments.find((one) => one.metadata.name === name)?.status.waitingOn || 'nothing waits'}\n` })],
  ['POST', '/deployments/:ns/:name/:verb', ({ name, verb, given, me }) => { const [status, said] = alive.act(name, verb, given, me.name); if (status !== 200) throw new No(status, said); return { message: said }; }],
  ['GET', '/plans', () => ({ revision: { commit: COMMIT }, inFlight: [{ deployment: 'nginx', device: 'web-ams1-02', step: 'install', phase: 'applying', since: ago(12) }], deferred: [] })],
  ['GET', '/plans/preview', ({ query }) => ({ revision: { commit: query.get('revision') ?? COMMIT, author: 'Mei Lin' }, reach: { removed: ['device/app-fra1-01'], changed: ['device/web-ams1-01', 'device/web-ams1-02'], added: [] }, tooFar: null, findings: [], outlook: { steps: [] } })],
  ['GET', '/source', () => source],
  ['POST', '/source/sync', () => [202, { message: 'the source is being asked' }]],
  ['POST', '/source/admit', () => ({ message: 'the commit is let through' })],
  ['GET', '/commits/:id', ({ id }) => ({ commit: id, author: 'admin', message: 'changed by admin', at: ago(5), state: Date.now() % 30000 < 12000 ? 'waiting' : 'inForce' })],
  ['GET', '/alerts', ({ query }) => {
    const states = query.get('state')?.split(',');
    return page(alerts.filter((one) => (!states || states.includes(one.state)) && (!query.get('device') || one.device === query.get('device').replace('default/', '')) && (!query.get('rule') || one.rule === query.get('rule').replace('default/', '')) && (query.get('suppressed') !== 'false' || one.suppressed.length === 0) && (!query.get('q') || `${one.summary} ${one.device} ${one.rule}`.includes(query.get('q')))), query, { beyondLimit: {}, undelivered: [{ receiver: 'night-shift', count: 1, since: ago(8000), last: ago(900), problem: '402 Payment Required' }] });
  }],
  ['GET', '/alerts/history', ({ query }) => page(past(query), query)],
  ['GET', '/alerts/:id', ({ id }) => alertDetail(alerts.find((one) => one.id === id) ?? (() => { throw new No(404, 'there is no such alert'); })())],
  ['POST', '/alerts/:id/acknowledge', ({ id, given, me }) => { const found = alerts.find((one) => one.id === id); found.acknowledged = { by: me.name, at: new Date().toISOString(), until: given.until, comment: given.comment }; announce('Alert', id); return { message: 'acknowledged' }; }],
  ['DELETE', '/alerts/:id/acknowledge', ({ id }) => { alerts.find((one) => one.id === id).acknowledged = null; announce('Alert', id); return { message: 'not acknowledged any more' }; }],
  ['POST', '/silences/preview', ({ given }) => { const muted = alerts.filter((one) => ['firing', 'pending'].includes(one.state) && Object.entries(given.matchLabels ?? {}).every(([key, value]) => ({ ...one.labels, rule: one.rule, device: one.device })[key] === value) && Object.entries(given.devices?.matchLabels ?? {}).every(([key, value]) => one.labels[key] === value)); return { alerts: muted, devices: new Set(muted.map((one) => one.device)).size }; }],
  ['POST', '/backtest', ({ given }) => backtest(given, devices)],
  ['GET', '/notices', ({ query }) => ({ items: notices.filter((one) => !query.get('dead') || one.isDead), total: notices.length })],
  ['POST', '/receivers/:ns/:name/test', ({ name }) => { if (name === 'night-shift') throw new No(409, 'the gateway answers 402 Payment Required'); return { message: `${name} was told, and took it` }; }],
  ['GET', '/logs', ({ query }) => page(loglines(query), query)],
  ['GET', '/logs/templates', ({ query }) => page(templates.filter((one) => !query.get('new') || one.is.includes('new')), query)],
  ['GET', '/logs/senders', () => senders],
  ['GET', '/logs/histogram', ({ query }) => {
    const buckets = Number(query.get('buckets') ?? 60);
    const found = loglines(query);
    const [to, from] = [Date.now(), Date.now() - 4 * 3600e3];
    const counts = Array.from({ length: buckets }, (_, index) => ({ at: new Date(from + ((to - from) / buckets) * index).toISOString(), counts: { error: 0, warning: 0, other: 0 } }));
    for (const one of found) {
      const bucket = counts[Math.floor(((new Date(one.received).getTime() - from) / (to - from)) * buckets)];
      if (bucket) bucket.counts[one.severity <= 3 ? 'error' : one.severity === 4 ? 'warning' : 'other']++;
    }
    return { buckets: counts };
  }],
  ['GET', '/audit', ({ query }) => entries(query)],
  ['GET', '/audit/proof', () => proof],
  ['GET', '/audit/export', () => audit],
  ['GET', '/audit/:index', ({ index }) => ({ ...audit.find((one) => one.index === Number(index)), leaf: 'q9fK0E…' })],
  ['GET', '/users', ({ query }) => page(users, query)],
  ['POST', '/users', ({ given }) => { if (users.some((one) => one.name === given.name)) throw new No(409, `there is a user ${given.name}`); const made = { ...person(given.name), ...given, password: undefined, disabled: false, createdAt: ago(0), sessions: 0, tokens: 0 }; users.push(made); return [201, { ...made, ...(given.password ? {} : { invitation: 'inv_9zk2mQ7x1' }) }]; }],
  ['GET', '/users/:name', ({ name }) => users.find((one) => one.name === name)],
  ['PATCH', '/users/:name', ({ name, given }) => Object.assign(users.find((one) => one.name === name), given)],
  ['DELETE', '/users/:name', ({ name }) => { users.splice(users.findIndex((one) => one.name === name), 1); return [204]; }],
  ['GET', '/sessions', () => page([{ id: 'a1', createdAt: ago(3600), seenAt: ago(5), address: '192.0.2.7', current: true }, { id: 'b2', createdAt: ago(86400), seenAt: ago(7200), address: '2001:db8::17', current: false }], new URLSearchParams())],
  ['DELETE', '/sessions/:id', () => [204]],
  ['GET', '/tokens', ({ query }) => page(tokens, query)],
  ['POST', '/tokens', ({ given, me }) => { const made = { id: `t-${Date.now()}`, name: given.name, user: me.name, prefix: 'ek_Zz90', scopes: given.scopes ?? [], createdAt: ago(0), expiresAt: new Date(Date.now() + 90 * 86400e3).toISOString() }; tokens.push(made); return [201, { ...made, token: 'ek_Zz90-this-is-only-a-mock' }]; }],
  ['DELETE', '/tokens/:id', ({ id }) => { tokens.splice(tokens.findIndex((one) => one.id === id), 1); return [204]; }],
  ...Object.keys(objects).flatMap((plural) => [
    ['GET', `/${plural}`, ({ query }) => listed(plural, query)],
    ['POST', `/${plural}`, ({ given, query }) => written(plural, given, query)],
    ['GET', `/${plural}/:ns/:name/origin`, ({ ns, name }) => ({ file: called(objects[plural], ns, name)?.origin?.file ?? null, line: called(objects[plural], ns, name)?.origin?.line ?? null })],
    ['GET', `/${plural}/:ns/:name`, ({ ns, name }) => (plural === 'deployments' ? alive.status : (one) => one)(called(objects[plural], ns, name))],
    ['PUT', `/${plural}/:ns/:name`, ({ given, query }) => written(plural, given, query)],
    ['PATCH', `/${plural}/:ns/:name`, ({ name, given, query }) => written(plural, { metadata: { name }, ...given }, query)],
    ['DELETE', `/${plural}/:ns/:name`, ({ name, query }) => written(plural, { metadata: { name } }, query)],
  ]),
].map(([method, pattern, answer]) => ({ method, parts: pattern.slice(1).split('/'), answer }));

function route(method, path) {
  const parts = path.slice(1).split('/').map(decodeURIComponent);
  for (const one of ROUTES) {
    if (one.method !== method || one.parts.length !== parts.length) continue;
    const given = {};
    const fits = one.parts.every((part, index) => {
      if (part.startsWith(':')) given[part.slice(1)] = parts[index];
      return part.startsWith(':') || part === parts[index];
    });
    if (fits) return { answer: one.answer, parts: given };
  }
  return undefined;
}

function announce(kind, name, what = 'changed') {
  event += 1;
  for (const response of listeners) response.write(`id: 1-${event}\nevent: change\ndata: ${JSON.stringify({ kind, namespace: 'default', name, what })}\n\n`);
}

function stream(response, first) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  response.write(first);
}

const shownSession = (me, token) => ({ signedIn: Boolean(me), ...(me && { csrf: `csrf-${token}`, user: me, mode: 'git', source: source.url }), providers: [{ id: 'local' }, { id: 'oidc', title: 'Example SSO', url: '/api/v1/oidc/login' }], needsFirstUser: needsFirst, version: '0.1.0-mock' });

function begin(response, me) {
  const token = Math.random().toString(36).slice(2);
  sessions.set(token, me);
  response.setHeader('Set-Cookie', `evenkeel=${token}; Path=/; HttpOnly; SameSite=Strict`);
  return [200, shownSession(me, token)];
}

async function session(request, response, path, token) {
  const me = sessions.get(token);
  if (request.method === 'GET') return [200, shownSession(me, token)];
  if (request.method === 'DELETE') {
    if (path === '/session') sessions.delete(token);
    return [204];
  }
  const given = await body(request);
  if (path === '/session/first') {
    if (given.token !== 'once') throw new No(401, 'that one-time token does not count, or no more');
    needsFirst = false;
    return begin(response, people.admin);
  }
  if (path === '/session/invitation') return begin(response, people.viewer);
  if (path === '/session/password') {
    if (given.old !== 'evenkeel') throw new No(422, 'that is not your password');
    return [204];
  }
  const known = people[given.user];
  if (!known || given.password !== 'evenkeel') throw new No(401, 'user or password is wrong');
  return begin(response, known);
}

const KINDS = { '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml' };
const DIST = new URL('../dist/', import.meta.url);

/** The built UI: the same policy as the engine's, so that what it forbids is seen here. */
function file(path, response) {
  const kind = KINDS[extname(path)];
  if (kind) {
    response.writeHead(200, { 'Content-Type': kind, 'X-Content-Type-Options': 'nosniff' });
    return response.end(readFileSync(new URL(`.${normalize(path)}`, DIST)));
  }
  const nonce = randomBytes(16).toString('base64');
  const page = readFileSync(new URL('index.html', DIST), 'utf8').replace('name="csp-nonce" content="', `$&${nonce}`);
  const policy = `default-src 'none'; script-src 'self'; style-src 'self' 'nonce-${nonce}'; img-src 'self'; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'`;
  response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', 'Content-Security-Policy': policy, 'Cache-Control': 'no-store' });
  return response.end(page);
}

/** Hands a request to a real engine, and its answer back. */
function forward(request, response) {
  const { cookie: _, host: __, 'x-csrf-token': ___, ...headers } = request.headers;
  const onward = ask({ socketPath: process.env.MOCK_ENGINE, path: request.url, method: request.method, headers: { ...headers, host: 'localhost' } }, (answered) => {
    response.writeHead(answered.statusCode, answered.headers);
    answered.pipe(response);
  });
  onward.on('error', () => response.destroy());
  response.on('close', () => onward.destroy());
  request.pipe(onward);
}

async function answer(request, response) {
  const url = new URL(request.url, 'http://mock');
  if (!url.pathname.startsWith('/api/')) return file(url.pathname, response), undefined;
  if (!url.pathname.startsWith('/api/v1/')) throw new No(404, 'this is only the mock of the API');
  const path = url.pathname.slice('/api/v1'.length);
  const token = /(?:^|; )evenkeel=(\w+)/.exec(request.headers.cookie ?? '')?.[1];
  if (path === '/session' || path.startsWith('/session/')) return session(request, response, path, token);
  const me = sessions.get(token);
  if (!me) throw new No(401, 'sign in first');
  if (request.method !== 'GET' && request.headers['x-csrf-token'] !== `csrf-${token}`) throw new No(403, 'the CSRF token is missing');
  if (process.env.MOCK_ENGINE) return forward(request, response), undefined;
  if (path === '/events') {
    stream(response, `id: 1-${event}\nevent: hello\ndata: {}\n\n`);
    listeners.add(response);
    request.on('close', () => listeners.delete(response));
    return undefined;
  }
  if (path === '/logs/tail') {
    stream(response, ': begins\n\n');
    const timer = setInterval(() => response.write(`id: ${++tailed}\nevent: line\ndata: ${JSON.stringify(line(tailed, Date.now()))}\n\n`), 700);
    request.on('close', () => clearInterval(timer));
    return undefined;
  }
  const found = route(request.method, path);
  if (!found) throw new No(404, `there is no ${request.method} ${path}`);
  const acts = request.method !== 'GET' && !['/silences/preview', '/backtest', '/tokens'].includes(path);
  if (acts && !me.isAdmin) throw new No(403, `no role of ${me.name} allows that`);
  if (path.startsWith('/users') && !me.isAdmin) throw new No(403, 'only administrators may see users');
  const given = request.method === 'GET' ? undefined : await body(request);
  const said = await found.answer({ ...found.parts, query: url.searchParams, me, given });
  return Array.isArray(said) && typeof said[0] === 'number' ? said : [200, said];
}

createServer((request, response) => {
  answer(request, response)
    .then((said) => {
      if (!said) return;
      const [status, value, headers = {}] = said;
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
      response.end(value === undefined ? undefined : JSON.stringify(value));
    })
    .catch((error) => {
      const status = error.status ?? 500;
      response.writeHead(status, { 'Content-Type': 'application/problem+json' });
      response.end(JSON.stringify({ type: 'about:blank', title: TITLES[status] ?? 'Internal Server Error', status, detail: error.message, ...error.more }));
    });
}).listen(PORT, '127.0.0.1', () => console.log(`mock of the engine at http://127.0.0.1:${PORT}/api/v1 (admin / evenkeel, viewer / evenkeel)`));

const alive = living(devices, deployments, (kind, name) => announce(kind, name));
// Something changes from time to time.
setInterval(() => announce('Device', 'web-ams1-02'), 9000);
setInterval(() => announce('Rollout', 'nginx'), 13000);
