// Devices, classes, deployments and their rollouts: two sites, one switch each with what hangs off it.
export const NOW = Date.now();
export const ago = (seconds) => new Date(NOW - seconds * 1000).toISOString();
export const ahead = (seconds) => new Date(NOW + seconds * 1000).toISOString();
const API = 'evenkeel.dev/v1alpha1';
export const COMMIT = 'e3b7a91c4f20d85a6d1f9b0c7e2a4d6f8190abcd';
const OLD = '17c0ffee9a8b7c6d5e4f30211203f4e5d6c7b8a9';

/** The same numbers at every start. */
export function random(seed) {
  let state = [...seed].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) >>> 0, 7);
  return () => {
    state = (state * 1664525 + 1013904223) >>> 0;
    return state / 4294967296;
  };
}

/** Kinds of probes, by device and name. */
export const KINDS = new Map();
const meta = (name, labels) => ({ namespace: 'default', name, ...(labels && { labels }) });
const origin = (file, line = 1, author = 'Mei Lin <mei@example.com>') => ({ file, line, commit: COMMIT, author });

function device(site, role, number, address, more = {}) {
  const name = `${role === 'switch' ? 'sw' : role === 'storage' ? 'nas' : role}-${site}-${String(number).padStart(2, '0')}`;
  const type = role === 'switch' ? 'Network' : role === 'storage' ? 'Storage' : 'Server';
  const dice = random(name);
  const labels = { site, role, ...(number === 1 && role === 'web' && { canary: 'true' }) };
  const usage = { 'cpu.ratio': 0.05 + dice() * 0.5, 'memory.ratio': 0.2 + dice() * 0.6, 'disks[/].ratio': 0.2 + dice() * 0.5, 'load.one': dice() * 3, uptime: 86400 * (3 + dice() * 200), 'interfaces[eth0].received': dice() * 4e6, 'interfaces[eth0].sent': dice() * 6e6, ...more.values };
  const probes = type === 'Network' ? [['ping', 'icmp']] : role === 'web' ? [['web', 'http'], ['ping', 'icmp'], ['cert', 'tls']] : role === 'db' ? [['postgres', 'tcp'], ['ping', 'icmp']] : [['ping', 'icmp'], ['ssh', 'ssh']];
  for (const [probe, kind] of probes) KINDS.set(`${name}/${probe}`, kind);
  const failing = more.failing ?? {};
  return {
    apiVersion: API, kind: 'Device', metadata: meta(name, labels),
    spec: { type, class: role === 'switch' ? 'switch' : role === 'storage' ? 'storage-box' : `${role}-server`, address, ...(role !== 'switch' && { parents: [`sw-${site}-01`] }) },
    status: {
      health: more.health ?? 'Healthy', update: more.update ?? 'UpToDate', observedGeneration: 1,
      facts: type === 'Network' ? { os: 'Arista EOS', osVersion: '4.32.1F', kernel: '', arch: 'x86_64', cpus: 4, memoryBytes: 8 * 2 ** 30, serial: `JPE${Math.floor(dice() * 1e8)}` } : { os: role === 'storage' ? 'TrueNAS SCALE' : 'Debian', osVersion: role === 'storage' ? '24.10' : '12.8', kernel: '6.1.0-28-amd64', arch: 'x86_64', cpus: role === 'db' ? 16 : 8, memoryBytes: (role === 'db' ? 64 : 16) * 2 ** 30, serial: `CZ${Math.floor(dice() * 1e9)}` },
      probes: probes.map(([probe]) => ({ name: probe, state: failing[probe]?.[0] ?? (more.health === 'Unknown' ? 'unknown' : 'ok'), since: ago(failing[probe]?.[3] ?? 86400 * 3 + dice() * 1e6), code: failing[probe]?.[1] ?? '', reason: failing[probe]?.[2] ?? (more.health === 'Unknown' ? `sw-${site}-01 does not answer: nobody can say` : '') })),
      packages: role === 'web' ? [{ deployment: 'nginx', name: 'nginx', version: more.nginx ?? '1.24.0-1', revision: more.nginx ? 7 : 6 }, { deployment: 'base', name: 'chrony', version: '4.3-2', revision: 3 }] : role === 'db' ? [{ deployment: 'postgres', name: 'postgresql-15', version: '15.10-0+deb12u1', revision: 4 }] : type === 'Server' ? [{ deployment: 'base', name: 'chrony', version: '4.3-2', revision: 3 }] : [],
      deviations: more.deviations ?? [],
      conditions: [{ type: 'Ready', status: more.health && more.health !== 'Healthy' ? 'False' : 'True', reason: more.health ?? 'Healthy', lastTransitionTime: ago(90000) }],
    },
    uses: more.unread ? { usage: null, failingSince: ago(1500), problem: more.unread } : { usage: { at: ago(8), values: usage } },
    effective: { address, labels: { ...labels, managed: 'evenkeel' } },
    origin: origin(`devices/${site}.yaml`, 4 + number * 8),
    lastChange: { deployment: 'default/nginx', revision: '7', commit: COMMIT, at: ago(3600 * number) },
  };
}

export function fleet(most = 24) {
  const devices = [];
  const add = (...rest) => devices.push(device(...rest));
  add('ams1', 'switch', 1, '10.10.0.2');
  for (let n = 1; n <= 6; n++) {
    add('ams1', 'web', n, `10.10.0.${10 + n}`,
      n <= 2 ? { update: n === 1 ? 'UpToDate' : 'Updating', nginx: '1.26.2-1', changed: 400 } :
      n === 4 ? { health: 'Degraded', update: 'OutOfDate', failing: { web: ['fail', 'HttpStatus', 'GET /healthz: 503 Service Unavailable (wanted 200)', 940] }, values: { 'memory.ratio': 0.94 }, deviations: [{ deployment: 'nginx', path: '/etc/nginx/conf.d/limits.conf', desired: 'sha256:9f2c…', actual: 'sha256:11ab…', reason: 'changed by hand', since: ago(7300) }] } :
      { update: 'OutOfDate' });
  }
  add('ams1', 'db', 1, '10.10.0.21', { values: { 'cpu.ratio': 0.72, 'memory.ratio': 0.81, 'disks[/].ratio': 0.41, 'disks[/var/lib/postgresql].ratio': 0.91 }, health: 'Degraded' });
  add('ams1', 'db', 2, '10.10.0.22');
  add('ams1', 'app', 1, '10.10.0.31');
  add('ams1', 'app', 2, '10.10.0.32');
  add('ams1', 'storage', 1, '10.10.0.41', { values: { 'disks[/mnt/tank].ratio': 0.67 } });
  add('fra1', 'switch', 1, '10.20.0.2', { health: 'Unreachable', update: 'Unknown', failing: { ping: ['fail', 'Timeout', '4 of 4 packets lost', 1500] }, unread: 'no answer to SNMP within 5s' });
  for (let n = 1; n <= 6; n++) add('fra1', 'web', n, `10.20.0.${10 + n}`, { health: 'Unknown', update: n === 6 ? 'Blocked' : 'Unknown', unread: 'no route to host' });
  add('fra1', 'db', 1, '10.20.0.21', { health: 'Unknown', update: 'Unknown', unread: 'no route to host' });
  add('fra1', 'db', 2, '10.20.0.22', { health: 'Unknown', update: 'Unknown', unread: 'no route to host' });
  add('fra1', 'app', 1, '10.20.0.31', { health: 'Unknown', update: 'Unknown', unread: 'no route to host' });
  add('fra1', 'storage', 1, '10.20.0.41', { health: 'Unknown', update: 'Unknown', unread: 'no route to host' });
  devices.push({ ...device('ams1', 'app', 3, '10.10.0.33', { health: 'Unknown', update: 'Unknown', unread: '' }), status: { health: 'Unknown', update: 'Unknown', probes: [], packages: [], deviations: [] }, uses: undefined });
  for (let n = devices.length; n < most; n++) {
    const dice = random(`d${n}`);
    add(`s${String(1 + (n % 40)).padStart(2, '0')}`, ['web', 'db', 'app', 'storage'][n % 4], n, `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`, dice() < 0.02 ? { health: 'Degraded' } : {});
  }
  return devices;
}

const history = (revision, version, result, started, finished, more = {}) => ({
  number: revision, revision, digest: `sha256:${revision}f0e1d2c3b4a5`, version, commit: revision >= 6 ? COMMIT : OLD, author: 'Mei Lin <mei@example.com>', startedAt: ago(started), finishedAt: finished === null ? null : ago(finished), result, reason: '', content: { packages: [{ apt: { name: 'nginx', version } }], files: [{ path: '/etc/nginx/nginx.conf', source: { inline: 'worker_processes auto;' }, mode: '0644' }], services: [{ unit: 'nginx', after: 'Restart' }] }, ...more,
});

export const deployments = [
  {
    apiVersion: API, kind: 'Deployment', metadata: meta('nginx', { team: 'web' }),
    spec: { selector: { matchLabels: { role: 'web' } }, packages: [{ apt: { name: 'nginx', version: '1.26.2-1' } }], services: [{ unit: 'nginx', after: 'Restart' }], strategy: { batches: [{ max: 1 }, { max: '25%' }], maxUnavailable: '20%', groupBy: ['site'], soak: '10m', deadline: '10m' }, gate: { probes: true, alerts: ['critical'] }, approval: 'None', onFailure: 'Rollback' },
    status: { phase: 'Soaking', revision: 7, inForce: 6, batch: 1, counts: { total: 12, updated: 2, failed: 0, unreachable: 6, pending: 4 }, waitingOn: 'batch 1 soaks for 6 more minutes', waitingSince: ago(240), history: [history(7, '1.26.2-1', 'running', 640, null), history(6, '1.24.0-1', 'complete', 86400 * 9, 86400 * 9 - 2400)] },
    origin: origin('deployments/nginx.yaml', 1),
  },
  {
    apiVersion: API, kind: 'Deployment', metadata: meta('postgres', { team: 'data' }),
    spec: { selector: { matchLabels: { role: 'db' } }, packages: [{ apt: { name: 'postgresql-15', version: '15.11-0+deb12u1' } }], strategy: { batches: [{ max: 1 }], maxUnavailable: 1, soak: '30m' }, approval: 'EveryBatch', onFailure: 'Pause' },
    status: { phase: 'AwaitingApproval', revision: 5, inForce: 4, batch: 1, counts: { total: 4, updated: 0, failed: 0, unreachable: 2, pending: 2 }, waitingOn: 'approval of plan 7c1e90ab', waitingSince: ago(5400), history: [history(5, '15.11-0+deb12u1', 'running', 5400, null), history(4, '15.10-0+deb12u1', 'complete', 86400 * 30, 86400 * 30 - 4000)] },
    origin: origin('deployments/postgres.yaml', 1),
  },
  {
    apiVersion: API, kind: 'Deployment', metadata: meta('app', { team: 'app' }),
    spec: { selector: { matchLabels: { role: 'app' } }, packages: [{ archive: { url: 'https://files.example.com/app-2.9.0.tar.gz', sha256: '4be1…', into: '/opt/app', unit: 'app' } }], strategy: { batches: [{ max: 1 }], soak: '5m' }, onFailure: 'Rollback' },
    status: { phase: 'RolledBack', revision: 12, inForce: 11, batch: 1, counts: { total: 4, updated: 0, failed: 1, unreachable: 1, pending: 2 }, waitingOn: '', history: [history(12, '2.9.0', 'rolledBack', 16000, 15100, { result: { rolledBack: { to: 11 } }, reason: 'app-ams1-01: check `GET /ready` failed after the change: 500 Internal Server Error' }), history(11, '2.8.4', 'complete', 86400 * 4, 86400 * 4 - 900)] },
    origin: origin('deployments/app.yaml', 1),
  },
  {
    apiVersion: API, kind: 'Deployment', metadata: meta('base', { team: 'platform' }),
    spec: { selector: { matchLabels: { managed: 'evenkeel' } }, packages: [{ apt: { name: 'chrony', version: '4.3-2' } }], strategy: { batches: [{ max: 1 }, { max: '10%' }], soak: '2m' }, onFailure: 'Rollback' },
    status: { phase: 'Complete', revision: 3, inForce: 3, counts: { total: 20, updated: 20, failed: 0, unreachable: 0, pending: 0 }, history: [history(3, '4.3-2', 'complete', 86400 * 12, 86400 * 12 - 1800)] },
    origin: origin('deployments/base.yaml', 1),
  },
];

export function rollout(name, devices) {
  const found = deployments.find((one) => one.metadata.name === name);
  if (!found) return undefined;
  const role = found.spec.selector.matchLabels.role;
  const of = devices.filter((one) => !role || one.metadata.labels.role === role).slice(0, 40);
  const revision = found.status.revision;
  const placed = (one, index) => {
    const device = one.metadata.name;
    if (one.status.health === 'Unknown') return { name: device, phase: 'waiting', revision: revision - 1, since: ago(1500), problem: 'unreachable: catches up when it returns' };
    if (name === 'nginx') return index === 0 ? { name: device, phase: 'applied', revision, since: ago(260) } : index === 1 ? { name: device, phase: 'applying', revision, since: ago(12), step: 'apt install nginx=1.26.2-1' } : { name: device, phase: 'waiting', revision: revision - 1 };
    if (name === 'app') return index === 0 ? { name: device, phase: 'restored', revision: 11, since: ago(15100), problem: 'check `GET /ready` failed: 500 Internal Server Error' } : { name: device, phase: 'waiting', revision: 11 };
    return found.status.phase === 'Complete' ? { name: device, phase: 'applied', revision, since: ago(86400 * 12) } : { name: device, phase: 'waiting', revision: revision - 1 };
  };
  const all = of.map(placed);
  const cut = [1, Math.max(2, Math.ceil(all.length / 4) + 1)];
  const batches = [all.slice(0, cut[0]), all.slice(cut[0], cut[1]), all.slice(cut[1])].map((members, index) => ({ number: index + 1, openedAt: index === 0 || found.status.phase === 'Complete' ? ago(640) : null, takesRest: index === 2, devices: members }));
  const waits = name === 'nginx'
    ? [{ target: 'deployment/nginx', wants: 'open batch 2', waitingOn: { kind: 'Soak', until: ahead(360) }, text: `batch 1 soaks until ${ahead(360).slice(11, 16)} UTC`, since: ago(240), clearedBy: 'time: 6 minutes' }, { target: 'device/web-fra1-01', wants: 'apply revision 7', waitingOn: { kind: 'Unreachable' }, text: 'web-fra1-01 is behind sw-fra1-01, which does not answer', since: ago(1500), clearedBy: 'sw-fra1-01 answering again' }]
    : name === 'postgres'
      ? [{ target: 'deployment/postgres', wants: 'open batch 1', waitingOn: { kind: 'Approval', id: '7c1e90ab' }, text: 'approval of plan 7c1e90ab', since: ago(5400), clearedBy: 'somebody with `approve` on deployment/postgres (platform, dba)' }] : [];
  const gates = name === 'nginx' ? [{ batch: 1, kind: 'probes', state: 'passed', text: 'all probes of 1 device pass' }, { batch: 1, kind: 'alerts', state: 'passed', text: 'no critical alert' }, { batch: 1, kind: 'soak', state: 'waiting', text: 'watched for 10 minutes', until: ahead(360) }] : [];
  return { deployment: name, paused: null, history: found.status.history.map((one) => ({ ...one })), batches, waits, gates };
}

const plain = (kind, name, spec, more = {}) => ({ apiVersion: API, kind, metadata: meta(name, more.labels), spec, ...(more.status && { status: more.status }), origin: origin(more.file ?? `${kind.toLowerCase()}s.yaml`, more.line ?? 1) });
const ready = { conditions: [{ type: 'Ready', status: 'True', reason: 'Ready', lastTransitionTime: ago(80000) }] };

export const others = {
  alertrules: [
    plain('AlertRule', 'memory-high', { selector: { matchLabels: { role: 'web' } }, expr: 'device.usage.memory.ratio > 0.9', recover: 'device.usage.memory.ratio < 0.8', for: '5m', severity: 'warning', summary: '{{ device.name }}: memory at {{ value | percent }}', notify: { receivers: ['oncall'], groupBy: ['site'], wait: '30s', repeat: '4h' }, tests: [{ given: 'memory 95 % for 6m', at: '6m', expect: 'firing' }] }, { file: 'watching/rules.yaml', status: ready }),
    plain('AlertRule', 'disk-full', { selector: {}, expr: 'device.usage.disks.exists(d, d.ratio > 0.9)', for: '10m', severity: 'critical', summary: '{{ device.name }}: a disk is at {{ value | percent }}', notify: { receivers: ['oncall', 'mail'] } }, { file: 'watching/rules.yaml', line: 22, status: ready }),
    plain('AlertRule', 'not-answering', { selector: {}, expr: 'device.health == "Unreachable"', for: '1m', keepFiringFor: '2m', noData: 'Fire', severity: 'critical', summary: '{{ device.name }} does not answer', notify: { receivers: ['oncall'] } }, { file: 'watching/rules.yaml', line: 41, status: ready }),
    plain('AlertRule', 'http-errors', { selector: { matchLabels: { role: 'web' } }, expr: 'device.probes["web"].state == "fail"', for: '2m', severity: 'critical', summary: '{{ device.name }}: the web server answers with errors', notify: { receivers: ['oncall'] } }, { file: 'watching/rules.yaml', line: 60, status: ready }),
    plain('AlertRule', 'new-kinds-of-errors', { selector: {}, expr: 'device.usage.logs.newTemplates > 0 && device.usage.logs.errors > 5', for: '1m', severity: 'info', summary: '{{ device.name }}: errors of a kind never seen before' }, { file: 'watching/rules.yaml', line: 80, status: ready }),
  ],
  roles: [
    plain('Role', 'platform', { subjects: [{ group: 'platform' }], allow: [{ verbs: ['view', 'edit', 'deploy', 'rollback', 'approve', 'silence', 'acknowledge'], kinds: ['Device', 'Deployment', 'AlertRule', 'Silence', 'Receiver'], devices: {} }], tests: [{ subject: 'group:platform', may: 'deploy', kind: 'Deployment', device: 'web-ams1-01', expect: true }] }, { file: 'governing/roles.yaml', status: ready }),
    plain('Role', 'dba', { subjects: [{ user: 'alice@example.com' }], allow: [{ verbs: ['view', 'approve', 'deploy'], kinds: ['Device', 'Deployment'], devices: { matchLabels: { role: 'db' } } }], login: { user: 'alice', authorizedKeys: ['ssh-ed25519 AAAAC3Nza… alice'], sudo: ['/usr/bin/systemctl restart postgresql'] } }, { file: 'governing/roles.yaml', line: 20, status: ready }),
    plain('Role', 'readers', { subjects: [{ group: 'everyone' }], allow: [{ verbs: ['view'], kinds: ['Device', 'Deployment', 'AlertRule', 'Receiver', 'Silence'], devices: { matchLabels: { site: 'ams1' } } }] }, { file: 'governing/roles.yaml', line: 40, status: ready }),
  ],
  repositories: [plain('Repository', 'fleet', { url: 'https://git.example.com/platform/fleet.git', ref: { branch: 'main' }, path: '.', interval: '1m', verify: { mode: 'Head' }, prune: true, limits: { deletions: 5, devices: '10%' } }, { file: 'governing/repository.yaml', status: { ...ready, commit: COMMIT } })],
  receivers: [
    plain('Receiver', 'oncall', { webhook: { url: 'https://hooks.example.com/oncall', format: 'Slack', secretRef: { name: 'oncall-hook' } } }, { file: 'watching/receivers.yaml', status: ready }),
    plain('Receiver', 'mail', { email: { to: ['ops@example.com'], from: 'evenkeel@example.com', server: 'smtp.example.com:587' } }, { file: 'watching/receivers.yaml', line: 12, status: ready }),
    plain('Receiver', 'night-shift', { sms: { to: ['+31600000000'], gateway: { url: 'https://sms.example.com/send', method: 'POST' } } }, { file: 'watching/receivers.yaml', line: 24, status: { conditions: [{ type: 'Ready', status: 'False', reason: 'Refused', message: 'the gateway answers 402 Payment Required', lastTransitionTime: ago(8000) }] } }),
  ],
  silences: [plain('Silence', 'nas-migration', { matchLabels: { role: 'storage' }, devices: ['nas-ams1-01'], until: ahead(7200), reason: 'disks are being exchanged (CHG-1042)' }, { file: 'watching/silences.yaml', status: ready }), plain('Silence', 'old', { matchLabels: { site: 'fra1' }, until: ago(86400), reason: 'power maintenance' }, { file: 'watching/silences.yaml', line: 9 })],
  deviceclasses: ['web-server', 'db-server', 'app-server', 'switch', 'storage-box'].map((name, index) => plain('DeviceClass', name, { access: { ssh: { user: 'ops', become: 'sudo', secretRef: { name: 'fleet-key' } } }, metrics: { nodeExporter: { port: 9100 } }, logs: { syslog: true } }, { file: 'devices/classes.yaml', line: 1 + index * 14 })),
};
