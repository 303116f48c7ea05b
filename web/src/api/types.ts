/** What the engine answers, as /api/v1 has it. Optional is what may be missing. */

export type HealthState = 'Healthy' | 'Degraded' | 'Unreachable' | 'Unknown';
export type UpdateStateName = 'UpToDate' | 'Updating' | 'OutOfDate' | 'Blocked' | 'Unknown';
export type DeviceType = 'Server' | 'Network' | 'Storage';
export type PhaseName =
  | 'Pending' | 'Progressing' | 'Soaking' | 'AwaitingApproval' | 'Paused' | 'RollingBack' | 'RolledBack' | 'Complete' | 'Failed';
export type SeverityName = 'critical' | 'warning' | 'info';
export type AlertStateName = 'inactive' | 'pending' | 'firing' | 'resolved';
export type Kind =
  | 'Device' | 'Deployment' | 'AlertRule' | 'Role' | 'Repository' | 'Receiver' | 'Silence' | 'DeviceClass';
export type Plural =
  | 'devices' | 'deployments' | 'alertrules' | 'roles' | 'repositories' | 'receivers' | 'silences' | 'deviceclasses';
export type Verb =
  | 'view' | 'edit' | 'deploy' | 'rollback' | 'approve' | 'silence' | 'acknowledge';

export interface List<T> {
  items: T[];
  /** Of what the caller may see. */
  total?: number;
  cursor?: string | null;
}

// --- session ---------------------------------------------------------------------------------------------------------------------

export interface Me {
  name: string;
  displayName: string;
  email: string;
  groups: string[];
  isAdmin: boolean;
  kind: 'local' | 'oidc' | 'kubernetes' | 'token' | 'socket';
}

export interface Provider {
  id: string;
  title?: string;
  url?: string;
}

export interface Session {
  signedIn: boolean;
  csrf?: string;
  user?: Me;
  providers: Provider[];
  needsFirstUser: boolean;
  version: string;
  mode?: 'git' | 'folder' | 'kubernetes';
  source?: string;
}

export interface Access {
  isAdmin: boolean;
  verbs: Partial<Record<string, string[]>>;
}

export interface CanAnswer {
  allowed: boolean;
  reason: string;
  role?: string;
  entry?: unknown;
  /** Groups that the engine knows of and Roles name. */
  groups?: string[];
}

/** Where one is signed in. */
export interface OwnSession {
  id: string;
  createdAt: string;
  seenAt: string;
  address: string;
  current: boolean;
}

export interface User {
  name: string;
  displayName: string;
  email: string;
  groups: string[];
  isAdmin: boolean;
  disabled: boolean;
  lockedUntil?: string;
  createdAt: string;
  lastSignIn?: string;
  kind: string;
  sessions: number;
  tokens: number;
  invitation?: string;
}

export interface Scope {
  verbs: string[];
  kinds: string[];
}

export interface ApiToken {
  id: string;
  name: string;
  user: string;
  prefix: string;
  scopes: Scope[];
  createdAt: string;
  expiresAt: string;
  lastUsedAt?: string;
  lastUsedFrom?: string;
  /** Only in the answer to its making. */
  token?: string;
}

// --- objects ---------------------------------------------------------------------------------------------------------------------

export interface Metadata {
  namespace?: string;
  name: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

export interface Origin {
  commit?: string;
  author?: string;
}

export interface Condition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

/** An object as its manifest has it, with its status and where it was written. */
export interface Manifest<Spec = Record<string, unknown>, Status = Record<string, unknown>> {
  apiVersion: string;
  kind: Kind;
  metadata: Metadata;
  spec: Spec;
  status?: Status & { conditions?: Condition[]; observedGeneration?: number };
  origin?: Origin;
}

export interface Facts {
  os?: string;
  osVersion?: string;
  kernel?: string;
  arch?: string;
  cpus?: number;
  memoryBytes?: number;
  serial?: string;
}

export type ProbeStateName = 'ok' | 'fail' | 'unknown';

export interface ProbeStatus {
  name: string;
  state: ProbeStateName;
  since?: string | null;
  code?: string;
  reason?: string;
}

export interface PackageStatus {
  deployment: string;
  name: string;
  version: string;
  revision: number;
}

export interface Deviation {
  deployment?: string;
  path: string;
  desired: string;
  actual: string;
  reason: string;
  since?: string;
}

export interface DeviceStatus {
  health?: HealthState;
  update?: UpdateStateName;
  facts?: Facts;
  probes?: ProbeStatus[];
  packages?: PackageStatus[];
  deviations?: Deviation[];
}

export interface DeviceSpec {
  type: DeviceType;
  class?: string;
  address?: string;
  parents?: string[];
  suspend?: boolean;
  [more: string]: unknown;
}

/** What a device uses just now. */
export interface Usage {
  usage?: { at: string; values: Record<string, number> } | null;
  failingSince?: string;
  problem?: string;
  note?: string;
}

export interface Device extends Manifest<DeviceSpec, DeviceStatus> {
  /** `cpu 12 %, mem 40 %, / 71 %`, or why it is not known. */
  uses?: string | Usage;
  effective?: { address?: string; labels?: Record<string, string> };
  /** What a Deployment changed on it last. */
  lastChange?: { deployment: string; revision: string; commit: string; at: string };
}

export type FacetCounts = Record<string, number>;

export interface DeviceList extends List<Device> {
  facets?: Partial<Record<'site' | 'type' | 'health' | 'update', FacetCounts>>;
}

export interface Change {
  at: string;
  kind: 'rollout' | 'commit' | 'alert';
  title: string;
  deployment?: string;
  revision?: number;
  commit?: string;
  author?: string;
  result?: string;
}

/** Seconds since 1970, with the least, greatest and mean value of the span. */
export interface Point {
  at: number;
  min: number;
  max: number;
  avg: number;
}

export type UnitName = 'ratio' | 'bytes' | 'bytesPerSecond' | 'perSecond' | 'seconds' | 'count';

export interface Samples {
  series: string;
  unit: string;
  from: number;
  to: number;
  points: Point[];
}

export interface ProbeHistory {
  name: string;
  kind: string;
  state: ProbeStateName;
  code?: string;
  reason?: string;
  since?: string | null;
  history: { at: string; state: ProbeStateName; reason?: string }[];
}

export interface Topology {
  nodes: { namespace: string; name: string; type: DeviceType; site: string; health: HealthState; alerts: number }[];
  edges: { parent: string; child: string }[];
  hidden: number;
}

// --- rollouts --------------------------------------------------------------------------------------------------------------------

export interface HistoryEntry {
  revision: number;
  version: string;
  commit: string;
  startedAt: string;
  finishedAt?: string | null;
  result: string;
  reason?: string;
}

export interface DeploymentStatus {
  phase?: PhaseName;
  revision?: number;
  inForce?: number;
  batch?: number;
  counts?: Record<string, number>;
  waitingOn?: string;
  history?: HistoryEntry[];
}

export interface DeploymentSpec {
  selector?: { matchLabels?: Record<string, string> };
  paused?: boolean;
  suspend?: boolean;
  [more: string]: unknown;
}

export type Deployment = Manifest<DeploymentSpec, DeploymentStatus>;

export interface RolloutDevice {
  name: string;
  phase: string;
  revision?: number | null;
  since?: string | null;
  step?: string | null;
  problem?: string | null;
  health?: string;
}

export interface Wait {
  target: string;
  wants: string;
  waitingOn: { kind: string; id?: string; [more: string]: unknown };
  text: string;
  since?: string;
  clearedBy?: string;
}

export interface Gate {
  name?: string;
  state?: 'ok' | 'fail' | 'unknown';
  text?: string;
  [more: string]: unknown;
}

export interface Rollout {
  deployment: string;
  paused?: { by: string; at: string } | null;
  history: HistoryEntry[];
  batches: { number: number; openedAt?: string | null; takesRest?: boolean; devices: RolloutDevice[] }[];
  waits: Wait[];
  gates: Gate[];
}

export interface Source {
  url: string;
  inForce: string;
  author: string;
  /** The key that signed the commit; none: it was not verified. */
  signer?: string | null;
  checkedAt?: string | null;
  problem?: string | null;
  tooFar?: { id: string; reason: string; deleted: number; touched: number } | null;
  findings: string[];
}

/** What a write came to: a commit (Git), or the object itself (folder, cluster). */
export interface Written {
  commit?: string;
  branch?: string;
  message?: string;
  url?: string;
  file?: string;
  /** `false`: on a branch that somebody has to merge. */
  followed?: boolean;
  /** The document could not be edited in place: its comments are gone. */
  rewritten?: boolean;
}

export interface DryRun {
  diff: string;
  findings: unknown[];
  file?: string;
  rewritten?: boolean;
}

export interface Commit {
  commit: string;
  author: string;
  message: string;
  at: string;
  state: 'waiting' | 'inForce' | 'superseded' | 'refused';
  detail?: string;
}

// --- alerts ----------------------------------------------------------------------------------------------------------------------

export interface Acknowledged {
  by: string;
  at: string;
  until: string;
  comment: string;
}

export interface Suppression {
  kind: string;
  by?: string;
  text?: string;
}

export interface Alert {
  id: string;
  rule: string;
  device: string;
  state: AlertStateName;
  severity: SeverityName;
  summary: string;
  value?: number | null;
  activeAt: string;
  firedAt?: string | null;
  resolvedAt?: string | null;
  acknowledged?: Acknowledged | null;
  suppressed: Suppression[];
  behind: number;
  root?: string | null;
  lastChange?: { at?: string; text?: string; deployment?: string; revision?: number; commit?: string; author?: string } | null;
  group?: string | null;
}

export interface AlertList extends List<Alert> {
  beyondLimit?: Record<string, number>;
  undelivered?: number | unknown[];
}

export interface AlertDetail extends Alert {
  decisions: { at: string; what: string; why: string }[];
  said: { receiver: string; at: string; reason: string; problem?: string | null }[];
  text?: string;
}

// --- logs, audit, overview -------------------------------------------------------------------------------------------------------

export interface LogLine {
  number: number;
  received: string;
  sent?: string | null;
  device?: string | null;
  address?: string;
  host?: string;
  facility?: string | number;
  severity: number;
  program?: string;
  process?: string;
  text: string;
  template?: string | number | null;
}

export interface AuditEntry {
  index: number;
  at: string;
  actor: string;
  what: string;
  target?: string;
  about?: string[];
  detail?: unknown;
  [more: string]: unknown;
}

export interface AuditProof {
  size: number;
  root: string;
  checkpoint: string;
  verified: boolean;
  problem?: string;
}

export interface Overview {
  wrong: {
    suppressed: number;
    alerts: Record<SeverityName, number>;
    devices: Record<HealthState, number>;
    top: Alert[];
    /** What could not be said, by receiver. */
    undelivered: number | { receiver: string; count: number; since: string; last?: string; problem: string }[];
    ownNetworkDown: boolean;
    /** Why the engine does not act just now, if so. */
    notReady?: string | null;
  };
  changing: {
    rollouts: { deployment: string; phase: PhaseName; updated: number; total: number; waits?: string }[];
    /** How many more there are. */
    more?: number;
  };
  last: { at: string; actor: string; what: string; target?: string; outcome?: string }[];
  source?: Partial<Source>;
  logs?: Record<string, unknown>;
}

/** Something changed; what the reader sees of it must be fetched anew. */
export interface ChangeEvent {
  kind: string;
  namespace?: string;
  name?: string;
  what: 'changed' | 'removed';
}
