// What would come of a revision, told as the command line tells it: of each Deployment its steps in order, devices that change alike in one.

/** As the server gives it: what is looked at here, the rest is left alone. */
export type Preview = {
  revision: { reference: string; commit: string; author: string; signer?: string | null };
  reach: { deleted: string[]; touched: string[]; of: number };
  tooFar?: string | null;
  findings: string[];
  outlook: Outlook;
};
export type Outlook = { plans: { steps: Step[] }[]; windows: Record<string, string>; deferred: Deferred[]; ends: boolean };
export type Change = { item: string; from?: string | null; to?: string | null };
export type Step = { id: string; unit: string; target: string; action: Record<string, unknown> | string; changes: Change[]; reason: string };
export type Deferred = { unit: string; target: string; wants: string; waitingOn: Record<string, unknown> | string };

/** One line of the story. */
export type Told =
  | { what: 'devices'; verb: string; batch: number; devices: string[]; changes: Change[]; reason: string }
  | { what: 'rollout'; change: string; reason: string };

/** What is told of a Deployment. */
export type Story = { unit: string; window?: string; told: Told[] };

/** Changes of one step that are shown. */
const CHANGES = 20;

/** Tells it. Preparing disturbs nothing, and is left out. */
export function stories({ plans, windows }: Outlook): Story[] {
  const units = new Map<string, Story>();
  const alike = new Map<Told, string>();
  for (const step of plans.flatMap((plan) => plan.steps)) {
    const window = windows[step.unit];
    const story: Story = units.get(step.unit) ?? { unit: step.unit, told: [], ...(window !== undefined && { window }) };
    units.set(step.unit, story);
    const told = tell(step);
    if (!told) continue;
    const last = story.told[story.told.length - 1];
    const key = told.what === 'devices' ? JSON.stringify([told.verb, told.batch, told.changes]) : undefined;
    if (last?.what === 'devices' && told.what === 'devices' && alike.get(last) === key) {
      last.devices.push(...told.devices);
      continue;
    }
    story.told.push(told);
    if (key !== undefined) alike.set(told, key);
  }
  return [...units.values()];
}

function tell(step: Step): Told | undefined {
  const [verb, inside] = opened(step.action);
  if (verb === 'prepare') return undefined;
  if (verb === 'rollout') return { what: 'rollout', change: opened(inside)[0], reason: step.reason };
  if (verb === 'admit') return { what: 'rollout', change: 'admit', reason: step.reason };
  return { what: 'devices', verb, batch: batchOf(inside), devices: [step.target], changes: step.changes.slice(0, CHANGES), reason: step.reason };
}

/** The one key of a tagged value, and what it has; a bare word is a key with nothing. */
export function opened(value: unknown): [string, unknown] {
  if (typeof value === 'string') return [value, undefined];
  if (typeof value !== 'object' || value === null) return ['', undefined];
  return Object.entries(value)[0] ?? ['', undefined];
}

function batchOf(inside: unknown): number {
  if (typeof inside !== 'object' || inside === null) return 0;
  const work = 'work' in inside ? inside.work : inside;
  const batch = typeof work === 'object' && work !== null && 'batch' in work ? work.batch : 0;
  return typeof batch === 'number' ? batch : 0;
}

/** What is put off alike, together. */
export function alike(deferred: Deferred[]): { unit: string; wants: string; waitingOn: Deferred['waitingOn']; targets: string[] }[] {
  const groups = new Map<string, { unit: string; wants: string; waitingOn: Deferred['waitingOn']; targets: string[] }>();
  for (const { unit, target, wants, waitingOn } of deferred) {
    const key = JSON.stringify([unit, wants, waitingOn]);
    const group = groups.get(key) ?? { unit, wants, waitingOn, targets: [] };
    groups.set(key, group);
    group.targets.push(target);
  }
  return [...groups.values()];
}

/** A finding's file and line, and what it says: `fleet/web.yaml:12:3: …`, or over several lines with ` --> file:line:column`. */
export function finding(text: string): { file?: string; line?: number; said: string } {
  const arrow = /-->\s*([^\s:]+):(\d{1,7})/.exec(text);
  const plain = /^([^\s:]+\.ya?ml):(\d{1,7})(?::\d{1,7})?:\s*/.exec(text);
  const found = plain ?? arrow;
  if (!found) return { said: text };
  const said = plain ? text.slice(plain[0].length) : text;
  return { file: found[1] ?? '', line: Number(found[2]), said };
}
