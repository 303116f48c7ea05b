// Rollouts that go on by themselves, in the shape in which the engine tells of them. MOCK_SOAK=4: a batch is watched for 4 seconds.
import { COMMIT } from './fleet.mjs';

const SOAK = Number(process.env.MOCK_SOAK ?? 360);
const START = Date.now();
const iso = (at) => new Date(at).toISOString();
const before = (seconds) => iso(START - seconds * 1000);

const apt = (name, version) => ({ Apt: { name, version, hold: false, allow_downgrade: false, replace_conffiles: false } });
const file = (path, text) => ({ path, source: { Text: text }, mode: '0644', owner: 'root', group: 'root' });
const content = (packages, files = [], units = []) => ({ packages, files, services: units.map((unit) => ({ unit: `${unit}.service`, after: 'Restart' })), before: [], after: [], reboot: 'Never' });
const revision = (number, what, result, started, finished, more = {}) => ({ number, digest: `${number}f0e1d2c3b4a5`, content: what, commit: number % 2 ? COMMIT : '0a1b2c3d4e5f60718293a4b5c6d7e8f901234567', author: 'Mei Lin <mei@example.com>', startedAt: before(started), finishedAt: finished === null ? null : before(finished), result, reason: '', batches: [], revert: false, ...more });

const CONF = 'worker_processes auto;\nevents { worker_connections 1024; }\nhttp {\n  include mime.types;\n  keepalive_timeout 65;\n}\n';
const UNITS = {
  nginx: { role: 'web', history: [revision(5, content([apt('nginx', '1.22.1-9')], [file('/etc/nginx/nginx.conf', CONF)], ['nginx']), 'complete', 2e6, 1.99e6), revision(6, content([apt('nginx', '1.24.0-1')], [file('/etc/nginx/nginx.conf', CONF)], ['nginx']), 'complete', 778e3, 775e3), revision(7, content([apt('nginx', '1.26.2-1')], [file('/etc/nginx/nginx.conf', CONF.replace('65', '30').replace('1024', '4096'))], ['nginx']), 'progressing', 640, null, { signer: 'SHA256:mei' })] },
  postgres: { role: 'db', asks: true, history: [revision(4, content([apt('postgresql-15', '15.10-0+deb12u1')], [], ['postgresql']), 'complete', 2.6e6, 2.59e6), revision(5, content([apt('postgresql-15', '15.11-0+deb12u1')], [], ['postgresql']), 'progressing', 5400, null)] },
  app: { role: 'app', fails: true, history: [revision(11, content([{ Archive: { url: 'https://files.example.com/app-2.8.4.tar.gz', sha256: 'a'.repeat(64), into: '/opt/app' } }], [], ['app']), 'complete', 346e3, 345e3), revision(12, content([{ Archive: { url: 'https://files.example.com/app-2.9.0.tar.gz', sha256: '4b'.repeat(32), into: '/opt/app' } }], [], ['app']), 'progressing', 900, null)] },
  base: { role: undefined, done: true, history: [revision(3, content([apt('chrony', '4.3-2')]), 'complete', 1.03e6, 1.02e6)] },
};
const FAILURE = 'check `GET /ready` failed after the change: 500 Internal Server Error <img src=x onerror="window.__evenkeel_ran=1">';
const ASKED = '7c1e90ab33d1';

export function living(devices, deployments, announce) {
  const state = new Map(Object.entries(UNITS).map(([name, unit]) => [name, { name, ...unit, stage: 0, at: START - (unit.done ? 1e9 : SOAK * 400), paused: null, result: undefined }]));
  const membersOf = ({ role }) => devices.filter((one) => !role || one.metadata.labels.role === role).slice(0, 60).map((one) => one.metadata.name);
  const away = (name) => ['Unknown', 'Unreachable'].includes(devices.find((one) => one.metadata.name === name).status.health);

  // The stages of a good one: watch batch 1, change batch 2, watch it, change the rest, done. A bad one fails in batch 2 and goes back.
  const lengths = ({ fails }) => (fails ? [SOAK, SOAK / 2, SOAK / 2] : [SOAK, SOAK / 2, SOAK, SOAK / 2]);
  setInterval(() => {
    for (const unit of state.values()) {
      const length = lengths(unit)[unit.stage];
      if (unit.done || unit.asks || unit.paused || unit.result || length === undefined) continue;
      if (Date.now() - unit.at < length * 1000) continue;
      unit.stage += 1;
      unit.at = Date.now();
      if (unit.stage === lengths(unit).length) unit.result = unit.fails ? { rolledBack: { to: unit.history.at(-2).number } } : 'complete';
      if (unit.result) Object.assign(unit.history.at(-1), { result: unit.result, finishedAt: iso(Date.now()), reason: unit.fails ? `${membersOf(unit)[1]}: ${FAILURE}` : '' });
      else if (unit.fails && unit.stage === 2) Object.assign(unit.history.at(-1), { result: { rollingBack: { last_batch_only: false, to: unit.history.at(-2).number } }, reason: `${membersOf(unit)[1]}: ${FAILURE}` });
      announce('Rollout', unit.name);
    }
  }, 500);

  const phase = (unit, batch, index, device) => {
    if (unit.done || unit.result === 'complete') return 'applied';
    if (unit.asks) return 'waiting';
    if (unit.fails) {
      if (batch === 3 || (unit.undone && batch > 1)) return 'waiting';
      if (unit.result) return 'restored';
      if (unit.stage === 2) return batch === 1 ? 'restored' : index === 0 ? 'failed' : 'restoring';
      return batch === 1 ? 'applied' : unit.stage === 0 ? 'waiting' : 'applying';
    }
    if (away(device)) return 'waiting';
    if (batch === 1) return 'applied';
    if (batch === 2) return unit.stage === 0 ? 'waiting' : unit.stage === 1 ? (index === 0 ? 'applying' : 'preparing') : 'applied';
    return unit.stage < 3 ? 'waiting' : unit.result ? 'applied' : index % 3 === 0 ? 'rebooting' : 'applying';
  };

  function rollout(name) {
    const unit = state.get(name);
    if (!unit) return undefined;
    const number = unit.history.at(-1).number;
    const all = [...membersOf(unit)].sort((a, b) => Number(away(a)) - Number(away(b)));
    const cut = [1, Math.min(all.length, Math.max(3, Math.ceil(all.length / 4) + 1))];
    const opened = unit.asks ? 0 : unit.done || unit.result === 'complete' ? 3 : unit.stage === 0 ? 1 : unit.stage < 3 || unit.fails ? 2 : 3;
    const groups = [all.slice(0, cut[0]), all.slice(cut[0], cut[1]), all.slice(cut[1])].slice(0, opened);
    const batches = groups.map((members, at) => ({ number: at + 1, openedAt: iso(at === 0 ? Math.min(unit.at, START - 300e3) : unit.at), takesRest: at === 2, devices: members.map((device, index) => {
      const is = phase(unit, at + 1, index, device);
      return { name: `default/${device}`, phase: is, revision: is === 'waiting' ? number - 1 : number, since: iso(unit.at), ...(is === 'applying' && { step: '3fa91c22' }), ...(is === 'failed' && { problem: FAILURE }) };
    }) }));
    const waits = [];
    const wait = (target, wants, kind, fields, text, clearedBy) => waits.push({ target, wants, waitingOn: { kind, ...fields }, text: `${kind}: ${text}`, since: iso(unit.at), clearedBy });
    const self = `deployment/${name}`;
    if (unit.paused) wait(self, `go on with batch ${opened}`, 'Suspended', { by: unit.paused.by }, `paused by ${unit.paused.by}`, 'a commit that takes `suspend` or `paused` back; or `evenkeel rollout resume`, where a person paused it');
    if (unit.asks) wait(self, `open batch 1 (1 of ${all.length} left): ${all[0]}`, 'Approval', { id: ASKED }, `evenkeel rollout approve --id ${ASKED}`, 'a person: evenkeel rollout approve');
    const soaks = !unit.done && !unit.asks && !unit.result && !unit.paused && (unit.stage === 0 || (unit.stage === 2 && !unit.fails));
    const until = iso(unit.at + SOAK * 1000);
    if (soaks) wait(self, `open batch ${opened + 1} (2 of ${all.length - 1} left): ${all.slice(cut[0], cut[1]).join(', ')}`, 'Soak', { until }, `the batch is watched until ${until.slice(0, 19)}Z`, 'time');
    if (!unit.done && !unit.result && !unit.asks) for (const device of all.filter(away)) wait(`device/${device}`, `update to revision ${number}`, 'Unreachable', { since: before(1500), reason: 'no route to host' }, `since ${before(1500).slice(0, 19)}Z: no route to host`, 'the device coming back; it then catches up to the newest revision');
    const gates = opened === 0 || unit.done || unit.result ? [] : [{ batch: opened, kind: 'probes', state: unit.fails && unit.stage === 2 ? 'failed' : unit.stage === 1 ? 'waiting' : 'passed', text: unit.fails && unit.stage === 2 ? 'web of app-ams1-02: 500' : unit.stage === 1 ? '2 devices are being changed' : 'all probes pass' }, { batch: opened, kind: 'alerts', state: 'passed', text: 'no critical alert is new' }, ...(soaks ? [{ batch: opened, kind: 'soak', state: 'waiting', text: 'the batch is watched', until }] : [])];
    return { deployment: `default/${name}`, paused: unit.paused, history: unit.history, batches, waits, gates };
  }

  /** The status of the list follows the rollout. */
  function status(one) {
    const unit = state.get(one.metadata.name);
    const now = unit && rollout(unit.name);
    if (!now) return one;
    const [total, cells] = [membersOf(unit), now.batches.flatMap((batch) => batch.devices)];
    const of = (...phases) => cells.filter((cell) => phases.includes(cell.phase)).length;
    const wait = now.waits.find((found) => found.target.startsWith('deployment/')) ?? now.waits[0];
    const gone = total.filter(away).length;
    const updated = unit.done ? total.length : unit.result && unit.fails ? 0 : of('applied');
    const ends = unit.result ? (unit.fails ? 'RolledBack' : 'Complete') : unit.fails && unit.stage === 2 ? 'RollingBack' : now.waits.some((found) => found.waitingOn.kind === 'Soak') ? 'Soaking' : 'Progressing';
    const named = unit.paused ? 'Paused' : unit.done ? 'Complete' : unit.asks ? 'AwaitingApproval' : ends;
    return { ...one, status: { ...one.status, phase: named, revision: unit.history.at(-1).number, inForce: unit.result && !unit.fails ? unit.history.at(-1).number : (unit.history.at(-2) ?? unit.history.at(-1)).number, batch: now.batches.length, counts: { total: total.length, updated, failed: of('failed'), unreachable: unit.done ? 0 : gone, pending: Math.max(0, total.length - updated - of('failed') - (unit.done ? 0 : gone)) }, waitingOn: wait?.text ?? '', waitingSince: wait?.since, history: unit.history.map(({ number, content: what, commit, startedAt, finishedAt, result, reason }) => ({ revision: number, version: what.packages.map((one) => Object.values(one)[0]).map(({ name, version, into, sha256 }) => `${name ?? into} ${version ?? sha256.slice(0, 12)}`).join(', '), commit, startedAt, finishedAt, reason, result: ((word) => word[0].toUpperCase() + word.slice(1))(typeof result === 'string' ? result : Object.keys(result)[0]) })) } };
  }

  function act(name, verb, given, by) {
    const unit = state.get(name);
    if (!unit) return [409, `deployment/${name} does not exist, or has never been rolled out`];
    const said = (message) => {
      announce('Rollout', name);
      return [200, message];
    };
    if (verb === 'pause') {
      if (unit.paused) return [409, 'it is paused already'];
      unit.paused = { by, at: iso(Date.now()) };
      return said(`deployment/${name} is paused`);
    }
    if (verb === 'resume') {
      if (!unit.paused) return [409, 'it is not paused (a pause in Git is taken back in Git)'];
      unit.paused = null;
      return said(`deployment/${name} goes on`);
    }
    if (verb === 'approve') {
      if (!unit.asks || given.id !== ASKED) return [409, unit.asks ? `${given.id} does not wait for approval; ${ASKED} does` : 'nothing of it waits for approval'];
      Object.assign(unit, { asks: false, at: Date.now() });
      return said(`${given.id} is approved`);
    }
    if (verb === 'undo') {
      const back = unit.history.at(-2);
      if (!back) return [409, 'no revision before it was complete'];
      Object.assign(unit.history.at(-1), { result: { rolledBack: { to: back.number } }, finishedAt: iso(Date.now()), undoneBy: by, reason: given.comment ?? '' });
      Object.assign(unit, { result: { rolledBack: { to: back.number } }, fails: true, undone: true, stage: 2 });
      return said(`deployment/${name} goes back to revision ${back.number}`);
    }
    return [404, `there is no ${verb}`];
  }

  return { rollout, status, act, all: () => deployments.map(status) };
}

const said = (id, rule, device, summary) => ({ id, rule: `default/${rule}`, device: `default/${device}`, severity: 'critical', labels: {}, summary, since: before(1500), ended: null });
const notice = (id, receiver, reason, at, attempts, more, firing, resolved = []) => ({ notice: { id, receiver: `default/${receiver}`, thread: 't', reason, at: before(at), group: {}, firing, resolved, left_off: [0, 0] }, recordedAt: before(at), attempts, dueAt: null, finishedAt: before(at - 2), isDead: false, problem: '', reached: [], ...more });
const dead = { isDead: true, problem: '402 Payment Required: the gateway says <script>window.__evenkeel_ran=1</script>' };

export const notices = [
  notice('n5', 'oncall', 'newAlerts', 860, 1, {}, [said('b27d11aa', 'http-errors', 'web-ams1-04', 'web-ams1-04: the web server answers with errors')]),
  notice('n4', 'night-shift', 'escalated', 900, 8, dead, [said('a1f09c3e', 'not-answering', 'sw-fra1-01', 'sw-fra1-01 does not answer')]),
  notice('n3', 'mail', 'first', 1380, 3, { finishedAt: null, dueAt: new Date(Date.now() + 240e3).toISOString(), problem: '451 try again later' }, [said('a1f09c3e', 'not-answering', 'sw-fra1-01', 'sw-fra1-01 does not answer')]),
  notice('n2', 'oncall', 'first', 1390, 1, {}, [said('a1f09c3e', 'not-answering', 'sw-fra1-01', 'sw-fra1-01 does not answer')]),
  notice('n1', 'oncall', 'allResolved', 9000, 1, {}, [], [said('28cc99d3', 'http-errors', 'web-ams1-01', 'web-ams1-01: the web server answers with errors')]),
];

/** A rule over the last weeks: some devices fire now and then, more while something is rolled out. */
export function backtest({ since = '30d' }, devices) {
  const days = Number(/^(\d+)d$/.exec(since)?.[1] ?? 7);
  const [to, from] = [Date.now(), Date.now() - days * 86400e3];
  const members = devices.filter((one) => one.metadata.labels.role === 'web').map((one) => one.metadata.name);
  const courses = members.map((device, at) => {
    const firings = at % 3 ? [] : Array.from({ length: 2 + at }, (_, index) => {
      const begin = from + ((index * 37 + at * 13) % 97) / 97 * (to - from);
      return { from: iso(begin), to: index === 1 && at === 3 ? null : iso(begin + 900e3 + index * 1500e3), value: 0.9 + index / 100, inRollouts: index % 4 ? 0 : 600 };
    }).sort((a, b) => a.from.localeCompare(b.from));
    return { device: `default/${device}`, firings, more: 0, fired: firings.reduce((sum, one) => sum + ((one.to ? Date.parse(one.to) : to) - Date.parse(one.from)) / 1000, 0), inRollouts: firings.reduce((sum, one) => sum + one.inRollouts, 0), unknown: at * 60, reason: '', cut: false };
  });
  return { selected: members.length, devices: courses, readings: 86400 * days, next: null, notKept: ['probes["web"].state'], asOfToday: false, from: iso(from), to: iso(to) };
}
