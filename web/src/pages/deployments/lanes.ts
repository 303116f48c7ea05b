/** A rollout as lanes: each batch a lane, each of its devices a cell. */
import { parseName, shownName } from '@/lib/name';
import type { Batch, BatchDevice, Gate, Phase, Rollout, Tagged, Wait } from './types';

/** What a cell looks like: several phases look alike, since they mean the same to whoever looks. */
export type Tone = 'waiting' | 'moving' | 'good' | 'bad' | 'back';

export interface Cell {
  device: string;
  phase: Phase;
  tone: Tone;
  revision?: number;
  since?: string;
  step?: string;
  problem?: string;
  /** What the gate says of it, where that needs a word. */
  gate?: string;
  wait?: Wait;
}

/** How a lane stands as a whole. */
export type LaneState = 'planned' | 'moving' | 'watched' | 'good' | 'failed' | 'back';

export interface Lane {
  batch: number;
  openedAt?: string;
  takesRest: boolean;
  cells: Cell[];
  /** Devices that it has no cells for. */
  more: number;
  counts: Record<Tone, number>;
  state: LaneState;
  gates: LaneGate[];
  soakUntil?: string;
}

export type GateState = 'passed' | 'waiting' | 'failed' | 'unknown';

/** What has to be well for a batch to count as good. */
export interface LaneGate {
  kind: string;
  state: GateState;
  text: string;
  /** Devices by what it says of them, in words of the server. */
  counts?: Record<string, number>;
}

const PHASES: Record<Phase, Tone> = {
  waiting: 'waiting',
  preparing: 'moving',
  prepared: 'waiting',
  applying: 'moving',
  applied: 'good',
  rebooting: 'moving',
  failed: 'bad',
  restoring: 'back',
  restored: 'back',
  removing: 'moving',
};

/** The phase that a word of the server's names; what is not known is told as waiting. */
export function phaseOf(word: string): Phase {
  const lower = word.charAt(0).toLowerCase() + word.slice(1);
  return Object.hasOwn(PHASES, lower) ? (lower as Phase) : 'waiting';
}

export function toneOf(phase: Phase): Tone {
  return PHASES[phase];
}

/** The bare word of a tagged value: `rolledBack` of `{rolledBack: {to: 3}}`. */
export function wordOf(value: Tagged | undefined | null): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'string') return value;
  return Object.keys(value)[0] ?? '';
}

/** What a tagged value has with it. */
export function fieldsOf(value: Tagged | undefined | null): Record<string, unknown> {
  if (value === undefined || value === null || typeof value === 'string') return {};
  const inner = Object.values(value)[0];
  return typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>) : {};
}

/** The kind of a wait, as `Soak`, whether the server writes `{kind: "Soak", until}` or `{soak: {until}}`. */
export function waitKind(wait: Wait): string {
  const word = typeof wait.waitingOn.kind === 'string' ? wait.waitingOn.kind : wordOf(wait.waitingOn as Tagged);
  return word.charAt(0).toUpperCase() + word.slice(1);
}

/** A field of what is waited for, in either notation. */
export function waitField(wait: Wait, field: string): string | undefined {
  const inner = typeof wait.waitingOn.kind === 'string' ? wait.waitingOn : fieldsOf(wait.waitingOn as Tagged);
  const value = inner[field];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** The name within a target such as `device/web-01`. */
export function targetName(target: string): string {
  const slash = target.indexOf('/');
  return slash < 0 ? target : target.slice(slash + 1);
}

export function isOfDevice(wait: Wait): boolean {
  return wait.target.startsWith('device/');
}

function cellOf(device: BatchDevice, waits: Map<string, Wait>): Cell {
  const phase = phaseOf(device.phase);
  const cell: Cell = { device: shownName(parseName(device.name)), phase, tone: toneOf(phase) };
  if (device.revision != null) cell.revision = device.revision;
  if (device.since) cell.since = device.since;
  if (device.step) cell.step = device.step;
  if (device.problem) cell.problem = device.problem;
  if (device.gate?.reason && device.gate.reason !== device.problem) cell.gate = device.gate.reason;
  const wait = waits.get(shownName(parseName(device.name)));
  if (wait) cell.wait = wait;
  return cell;
}

function stateOf(counts: Record<Tone, number>, size: number, isLast: boolean, soaks: boolean): LaneState {
  if (counts.back > 0) return 'back';
  if (counts.bad > 0) return 'failed';
  if (size > 0 && counts.good === size) return isLast && soaks ? 'watched' : 'good';
  return counts.moving > 0 || counts.good > 0 || isLast ? 'moving' : 'planned';
}

const STATES: Record<string, GateState> = { passed: 'passed', ok: 'passed', waiting: 'waiting', failed: 'failed', fail: 'failed' };
/** Kinds of waiting that are the gate's. Others (a person, a window) hold up the next batch, and say nothing about this one. */
const ASKED: Record<string, string> = { health: 'probes', alert: 'alerts', soak: 'soak' };

/** What the server says of the whole batch's gate. */
function wholeOf({ gate }: Batch): LaneGate[] {
  if (!gate) return [];
  const whole: LaneGate = { kind: 'gate', state: STATES[gate.state] ?? 'unknown', text: gate.reason ?? '' };
  return [gate.counts ? { ...whole, counts: gate.counts } : whole];
}

/** A gate as a lane shows it, if it is one of this batch. One without a number is of the batch that is open. */
function gateOf(gate: Gate, batch: number, isOpen: boolean): LaneGate[] {
  const state = STATES[gate.state] ?? 'unknown';
  const kind = gate.kind ?? ASKED[(gate.name ?? '').toLowerCase()];
  if (!kind || (gate.batch === undefined ? !isOpen : gate.batch !== batch)) return [];
  return [{ kind, state, text: gate.text ?? '' }];
}

/** The lanes of the newest revision's batches, in their order. */
export function lanesOf(rollout: Pick<Rollout, 'batches' | 'waits' | 'gates'>): Lane[] {
  const waits = new Map(rollout.waits.filter(isOfDevice).map((wait) => [shownName(parseName(targetName(wait.target))), wait]));
  const soak = rollout.waits.find((wait) => waitKind(wait) === 'Soak');
  const last = rollout.batches.length - 1;
  return rollout.batches.map((batch: Batch, index) => {
    const cells = batch.devices.map((device) => cellOf(device, waits));
    const counts: Record<Tone, number> = { waiting: 0, moving: 0, good: 0, bad: 0, back: 0 };
    for (const cell of cells) counts[cell.tone] += 1;
    const isLast = index === last;
    const lane: Lane = {
      batch: batch.number,
      takesRest: batch.takesRest,
      cells,
      more: batch.more ?? 0,
      counts,
      state: batch.openedAt ? stateOf(counts, cells.length, isLast, soak !== undefined) : 'planned',
      gates: [...wholeOf(batch), ...rollout.gates.flatMap((gate) => gateOf(gate, batch.number, isLast))],
    };
    if (batch.openedAt) lane.openedAt = batch.openedAt;
    const until = isLast && soak ? waitField(soak, 'until') : undefined;
    if (until) lane.soakUntil = until;
    return lane;
  });
}

/** Waits that are alike (same want, same reason), with all that they are about: thousands of devices may wait for the same. */
export interface WaitGroup {
  wait: Wait;
  kind: string;
  targets: string[];
  since?: string;
}

export function groupWaits(waits: Wait[]): WaitGroup[] {
  const groups = new Map<string, WaitGroup>();
  for (const wait of waits) {
    const key = `${wait.wants}\n${wait.text}`;
    const group = groups.get(key);
    if (!group) {
      groups.set(key, { wait, kind: waitKind(wait), targets: [wait.target], ...(wait.since ? { since: wait.since } : {}) });
      continue;
    }
    group.targets.push(wait.target);
    if (wait.since && (!group.since || wait.since < group.since)) group.since = wait.since;
  }
  // What a person has to do comes first.
  return [...groups.values()].sort((a, b) => Number(b.kind === 'Approval') - Number(a.kind === 'Approval'));
}

/** What waits for approval: the wait itself with its id. */
export function approvalOf(waits: Wait[]): { id: string; wait: Wait } | undefined {
  for (const wait of waits) {
    const id = waitKind(wait) === 'Approval' ? waitField(wait, 'id') : undefined;
    if (id) return { id, wait };
  }
  return undefined;
}

export interface Consequences {
  from: number;
  to?: number;
  devices: string[];
}

/** What undoing would mean: back to the newest complete revision before this one, on every device that has this one. */
export function consequencesOfUndo(rollout: Pick<Rollout, 'history' | 'batches'>): Consequences | undefined {
  const current = rollout.history.at(-1);
  if (!current || wordOf(current.result) === 'rollingBack') return undefined;
  const stable = rollout.history.filter((record) => record.number < current.number && wordOf(record.result) === 'complete').at(-1);
  if (!stable) return undefined;
  const touched = rollout.batches
    .flatMap((batch) => batch.devices)
    .filter((device) => ['applying', 'applied', 'rebooting', 'failed'].includes(phaseOf(device.phase)))
    .map((device) => shownName(parseName(device.name)));
  return { from: current.number, to: stable.number, devices: [...new Set(touched)] };
}

/** Whether a pause, a resumption or an undoing can be asked for now. */
export function possible(rollout: Pick<Rollout, 'paused' | 'history' | 'batches'>): { pause: boolean; resume: boolean; undo: boolean } {
  const word = wordOf(rollout.history.at(-1)?.result);
  const paused = Boolean(rollout.paused);
  const failed = rollout.batches.some((batch) => batch.devices.some((device) => phaseOf(device.phase) === 'failed'));
  return {
    pause: !paused && word !== '',
    resume: paused || word === 'stopped' || failed,
    undo: word !== 'rolledBack' && consequencesOfUndo(rollout) !== undefined,
  };
}
