// Alerts, samples, histories, logs, audit.
import { ago, ahead, COMMIT, KINDS as PROBES, NOW, random } from './fleet.mjs';

const nginx7 = { deployment: 'nginx', revision: '7', commit: COMMIT, at: ago(640) };
const alert = (id, rule, device, state, severity, summary, active, more = {}) => ({
  id, rule, device, state, severity, summary, labels: { site: device.includes('fra1') ? 'fra1' : 'ams1' }, value: null, activeAt: ago(active), firedAt: state === 'pending' ? null : ago(active - 60), resolvedAt: null, acknowledged: null, suppressed: [], behind: 0, root: null, lastChange: null, group: device.includes('fra1') ? 'site=fra1' : 'site=ams1', ...more,
});

export const alerts = [
  alert('a1f09c3e', 'not-answering', 'sw-fra1-01', 'firing', 'critical', 'sw-fra1-01 does not answer', 1500, { behind: 10 }),
  alert('b27d11aa', 'http-errors', 'web-ams1-04', 'firing', 'critical', 'web-ams1-04: the web server answers with errors', 900, { lastChange: nginx7 }),
  alert('c90e8842', 'disk-full', 'db-ams1-01', 'firing', 'critical', 'db-ams1-01: a disk is at 91 %', 7400, { value: 0.91, acknowledged: { by: 'alice@example.com', at: ago(5000), until: ahead(9000), comment: 'extending the volume, CHG-1050' } }),
  alert('d4417b60', 'memory-high', 'web-ams1-04', 'firing', 'warning', 'web-ams1-04: memory at 94 %', 1200, { value: 0.94, lastChange: nginx7 }),
  alert('e5508fd1', 'memory-high', 'web-ams1-02', 'pending', 'warning', 'web-ams1-02: memory at 91 %', 100, { value: 0.91 }),
  alert('f6619ac2', 'new-kinds-of-errors', 'app-ams1-01', 'firing', 'info', 'app-ams1-01: errors of a kind never seen before', 15200, { value: 3 }),
  ...[1, 2, 3, 4, 5, 6].map((n) => alert(`0${n}aa77b1`, 'not-answering', `web-fra1-0${n}`, 'firing', 'critical', `web-fra1-0${n} does not answer`, 1440, { suppressed: [{ kind: 'parent', by: 'sw-fra1-01', text: 'sw-fra1-01, above it, does not answer' }], root: 'sw-fra1-01' })),
  alert('17bb88c2', 'disk-full', 'nas-ams1-01', 'firing', 'critical', 'nas-ams1-01: a disk is at 93 %', 600, { value: 0.93, suppressed: [{ kind: 'silence', by: 'nas-migration', text: 'silenced by nas-migration until this evening' }] }),
  alert('28cc99d3', 'http-errors', 'web-ams1-01', 'resolved', 'critical', 'web-ams1-01: the web server answers with errors', 620, { firedAt: ago(500), resolvedAt: ago(300), lastChange: nginx7 }),
];

export function alertDetail(found) {
  return {
    ...found,
    decisions: [
      { at: found.activeAt, what: 'pending', why: 'the expression is true' },
      ...(found.firedAt ? [{ at: found.firedAt, what: 'firing', why: 'true for as long as `for` asks' }, { at: found.firedAt, what: 'told oncall', why: 'new in group site' }] : []),
      ...(found.acknowledged ? [{ at: found.acknowledged.at, what: 'acknowledged', why: found.acknowledged.comment }] : []),
    ],
    said: found.firedAt && found.suppressed.length === 0 ? [{ receiver: 'oncall', at: found.firedAt, reason: 'firing', problem: null }, { receiver: 'night-shift', at: found.firedAt, reason: 'firing', problem: '402 Payment Required' }] : [],
    text: `${found.summary}\n\n  rule ${found.rule}: the expression has been true since ${found.activeAt}\n  ${found.behind} devices are behind it\n`,
    lines: [],
  };
}

const SERIES = ['cpu.ratio', 'cpu.iowait', 'cpu.count', 'load.one', 'load.five', 'memory.total', 'memory.available', 'memory.ratio', 'swap.ratio', 'disks[/].ratio', 'interfaces[eth0].received', 'interfaces[eth0].sent', 'interfaces[eth0].receiveErrors', 'probes[ping].seconds', 'logs.lines', 'logs.errors', 'uptime'];
const UNITS = { ratio: /ratio$|iowait$/, bytes: /^memory\.|^disks/, bytesPerSecond: /received$|sent$/, perSecond: /Errors$/, seconds: /seconds$|^uptime/ };
export const unitOf = (series) => Object.entries(UNITS).find(([, like]) => like.test(series))?.[0] ?? 'count';

export function seriesOf(device) {
  const values = device.uses?.usage?.values ?? {};
  return device.spec.type === 'Network' ? ['cpu.ratio', 'memory.ratio', 'interfaces[Ethernet1].received', 'interfaces[Ethernet1].sent'] : [...new Set([...SERIES, ...Object.keys(values)])];
}

export function samples(device, series, from, to, points) {
  const dice = random(device.metadata.name + series);
  const unit = unitOf(series);
  const base = device.uses?.usage?.values?.[series] ?? (unit === 'ratio' ? 0.2 + dice() * 0.3 : unit === 'bytesPerSecond' ? 3e6 : unit === 'bytes' ? 8e9 : 2);
  const phase = dice() * 6;
  const step = Math.max(30, Math.floor((to - from) / points));
  const until = device.uses?.problem ? Math.min(to, NOW / 1000 - 1500) : to;
  const items = [];
  for (let at = Math.ceil(from / step) * step; at < Math.min(until, NOW / 1000); at += step) {
    const noise = Math.sin(at / 7001 + phase) * 0.18 + Math.sin(at / 911 + phase * 3) * 0.07 + (random(`${at}${series}${device.metadata.name}`)() - 0.5) * 0.12;
    const ramp = device.metadata.name === 'web-ams1-04' && series === 'memory.ratio' ? 0.55 + 0.45 * Math.max(0, Math.min(1, (at - (NOW / 1000 - 7000)) / 7000)) : 1;
    if (Math.floor(at / 40000) % 9 === 4 && at % 40000 < 2500) continue;
    let avg = Math.max(0, base * ramp * (1 + noise));
    if (unit === 'ratio') avg = Math.min(0.99, avg);
    items.push({ at, min: avg * 0.92, max: unit === 'ratio' ? Math.min(1, avg * 1.1) : avg * 1.1, avg });
  }
  return { series, unit, from, to, points: items };
}

export function probes(device, since) {
  return (device.status.probes ?? []).map((probe) => {
    const dice = random(device.metadata.name + probe.name);
    const history = [{ at: ago(since), state: 'ok', reason: '' }];
    for (let at = since; at > 4000; at -= 4000 + dice() * 30000) if (dice() < 0.5) history.push({ at: ago(at), state: dice() < 0.7 ? 'fail' : 'unknown', reason: 'timed out after 5s' }, { at: ago(at - 200 - dice() * 2500), state: 'ok', reason: '' });
    if (probe.state !== 'ok') history.push({ at: probe.since, state: probe.state, reason: probe.reason });
    return { ...probe, kind: PROBES.get(`${device.metadata.name}/${probe.name}`) ?? 'tcp', history: history.sort((a, b) => (a.at < b.at ? -1 : 1)) };
  });
}

export function changes(device) {
  const items = [{ at: ago(86400 * 6), kind: 'commit', title: 'web: raise worker_connections', commit: COMMIT, author: 'Mei Lin' }, { at: ago(15000), kind: 'rollout', title: 'base revision 3', deployment: 'base', revision: 3, result: 'complete' }];
  if (device.metadata.labels?.role === 'web') items.push({ at: ago(640), kind: 'rollout', title: 'nginx revision 7 (1.26.2-1)', deployment: 'nginx', revision: 7, commit: COMMIT, author: 'Mei Lin', result: 'running' });
  if (device.metadata.name === 'web-ams1-04') items.push({ at: ago(900), kind: 'alert', title: 'http-errors fires' }, { at: ago(1200), kind: 'alert', title: 'memory-high fires' });
  return items.sort((a, b) => (a.at < b.at ? -1 : 1));
}

const KINDS = [
  ['t1', 'nginx', 6, 'GET <*> <*> <*>ms', () => `GET /api/items/${Math.floor(Math.random() * 900)} 200 ${Math.floor(Math.random() * 40)}ms`],
  ['t2', 'nginx', 3, 'upstream timed out (110: Connection timed out) while reading response header from upstream, client: <*>', () => `upstream timed out (110: Connection timed out) while reading response header from upstream, client: 192.0.2.${Math.floor(Math.random() * 250)}`],
  ['t3', 'sshd', 6, 'Accepted publickey for <*> from <*> port <*>', () => 'Accepted publickey for ops from 10.10.0.5 port 50122'],
  ['t4', 'kernel', 4, 'TCP: request_sock_TCP: Possible SYN flooding on port <*>', () => 'TCP: request_sock_TCP: Possible SYN flooding on port 80. Sending cookies.'],
  ['t5', 'postgres', 4, 'checkpoints are occurring too frequently (<*> seconds apart)', () => `checkpoints are occurring too frequently (${Math.floor(Math.random() * 29)} seconds apart)`],
  ['t6', 'app', 3, 'panic: <*>', () => 'panic: <script>alert("a log line is only text")</script> {{7*7}} \u202Eevil'],
  ['t7', 'systemd', 5, 'Started <*>', () => 'Started Daily apt download activities.'],
];
const HOSTS = ['web-ams1-01', 'web-ams1-02', 'web-ams1-04', 'db-ams1-01', 'app-ams1-01', 'nas-ams1-01'];

export function line(number, at) {
  const dice = random(`line${number}`);
  const [template, program, severity, , say] = KINDS[dice() < 0.55 ? 0 : Math.floor(dice() * KINDS.length)];
  const device = HOSTS[Math.floor(dice() * HOSTS.length)];
  return { number, received: new Date(at).toISOString(), sent: new Date(at - 30).toISOString(), device, address: '10.10.0.11', host: device, facility: 3, severity, program, process: String(400 + Math.floor(dice() * 3000)), text: say(), template };
}

export const lines = Array.from({ length: 3000 }, (_, index) => line(50_000 - index, NOW - index * 4200));
export const templates = KINDS.map(([template, program, , text, say], index) => ({ template, program, text, is: index === 5 ? ['new'] : index === 1 ? ['unusual'] : index === 6 ? ['vanished'] : [], devices: HOSTS.slice(0, 1 + (index % 4)), from: 1, first: ago(86400 * (9 - index)), last: ago(30 * index), lines: [18211, 940, 388, 77, 241, 9, 120][index], parts: Array.from({ length: 24 }, (_, hour) => Math.floor(random(`${template}${hour}`)() * (index === 0 ? 900 : 40))), example: say(), ...(index === 5 && { commit: COMMIT }) }));
export const senders = { senders: [{ address: '10.10.0.77', device: null, hosts: ['printer-3'], lines: 412, refused: 0, first: ago(86400 * 3), last: ago(60) }, { address: '10.10.0.21', device: 'db-ams1-01', hosts: ['db-ams1-01'], lines: 0, refused: 1800, first: ago(7000), last: ago(5) }], forgotten: 2 };

const person = (name) => ({ kind: 'user', name });
const engine = { kind: 'engine', name: 'evenkeel' };
const git = { kind: 'commit', name: 'Mei Lin <mei@example.com>', signer: 'ssh-ed25519 AAAAC3Nza… mei' };
const ACTS = [
  [engine, 'apply', 'device/web-ams1-02', 'deployment/nginx', 'running', 'apt install nginx=1.26.2-1', ['package nginx: 1.24.0-1 -> 1.26.2-1']],
  [engine, 'apply', 'device/web-ams1-01', 'deployment/nginx', 'done', 'checks after the change passed', []],
  [git, 'admit', `commit/${COMMIT}`, '', 'done', 'nginx 1.26.2 (signature is good)', []],
  [person('alice@example.com'), 'acknowledge', 'alert/c90e8842', '', 'done', 'extending the volume, CHG-1050', []],
  [engine, 'roll-back', 'device/app-ams1-01', 'deployment/app', 'done', 'check `GET /ready` failed: 500', ['archive app: 2.9.0 -> 2.8.4']],
  [person('admin'), 'sign-in', 'user/admin', '', 'done', 'with a password', []],
  [person('bob@example.com'), 'approve', 'deployment/postgres', '', 'refused', 'no role of bob@example.com allows approve', []],
];
export const audit = Array.from({ length: 240 }, (_, back) => {
  const [actor, verb, target, unit, outcome, message, changed] = ACTS[back % ACTS.length];
  return { index: 4811 - back, at: ago(20 + back * 431), actor, verb, target, unit, plan: unit ? '7c1e90ab' : '', step: unit ? 'install' : '', changes: changed, message, outcome };
});
export const proof = { size: 4812, root: 'Zr0yq1n8v0m4rK1w9cQ1ZJm1hQ8m0e4r8mF1xq9fK0E=', checkpoint: 'evenkeel.example.com\n4812\nZr0yq1n8v0m4rK1w9cQ1ZJm1hQ8m0e4r8mF1xq9fK0E=\n\n— evenkeel.example.com wXyz…\n', verified: true };
