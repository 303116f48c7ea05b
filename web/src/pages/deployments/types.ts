/** What the server says of Deployments and their rollouts. */

/** Where a device stands within a revision; `waiting`: its turn has not come. */
export type Phase =
  | 'waiting'
  | 'preparing'
  | 'prepared'
  | 'applying'
  | 'applied'
  | 'rebooting'
  | 'failed'
  | 'restoring'
  | 'restored'
  | 'removing';

/** A tagged word of Rust's: `"complete"` or `{"rolledBack": {…}}`. */
export type Tagged = string | Record<string, unknown>;

export interface BatchDevice {
  name: string;
  phase: string;
  revision?: number | null;
  since?: string | null;
  step?: string | null;
  problem?: string | null;
  /** What the gate says of it, once it was changed. */
  gate?: { result: string; reason?: string } | null;
}

export interface Batch {
  number: number;
  openedAt?: string | null;
  /** It takes all that is left. */
  takesRest: boolean;
  /** What it has to pass; `counts`: devices by what the gate says of them. */
  gate?: { state: string; reason?: string; counts?: Record<string, number> };
  devices: BatchDevice[];
  /** Devices beyond what one answer has. */
  more?: number;
}

export interface Wait {
  /** `device/web-01` or `deployment/nginx`. */
  target: string;
  wants: string;
  waitingOn: Record<string, unknown> & { kind?: string };
  text: string;
  since?: string | null;
  clearedBy: string;
}

export interface Gate {
  batch?: number;
  /** What is asked: `probes`, `alerts`, `expr`, `checks`, `soak`. */
  kind?: string;
  /** The kind of waiting that it is told by, or `batch 1` for one that is through. */
  name?: string;
  state: string;
  text?: string;
  until?: string | null;
}

export interface Revision {
  number: number;
  digest: string;
  content?: Content;
  commit: string;
  author?: string;
  signer?: string | null;
  startedAt: string;
  finishedAt?: string | null;
  result: Tagged;
  reason?: string;
  undoneBy?: string | null;
  revert?: boolean;
}

export interface Rollout {
  deployment: string;
  paused?: { by: string; at: string } | null;
  history: Revision[];
  batches: Batch[];
  waits: Wait[];
  gates: Gate[];
}

export interface Content {
  packages?: Tagged[];
  files?: { path: string; source: Tagged; mode?: string; owner?: string; group?: string }[];
  services?: { unit: string; after: string }[];
  before?: unknown[];
  after?: unknown[];
  reboot?: string;
}

export interface DeploymentStatus {
  phase?: string;
  revision?: number;
  inForce?: number;
  batch?: number;
  counts?: Record<string, number>;
  waitingOn?: string;
  waitingSince?: string | null;
  history?: { revision: number; version: string; commit: string; startedAt: string; finishedAt?: string | null; result: string; reason: string }[];
  conditions?: { type: string; status: string; reason?: string; message?: string; lastTransitionTime?: string }[];
}

export interface Deployment {
  apiVersion?: string;
  kind?: string;
  metadata: { namespace?: string; name: string; labels?: Record<string, string> };
  spec?: Record<string, unknown>;
  status?: DeploymentStatus;
  origin?: { commit?: string; author?: string };
}
