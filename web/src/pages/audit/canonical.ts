// The bytes of an entry that are hashed, and its hash: so that a reader sees here what `evenkeel audit verify` checks.

import type { Entry } from './entry';

/** JSON with the fields in the order in which the engine has them, without those that say nothing. */
export function canonical(entry: Entry): string {
  const { index, at, actor, verb, target, unit, plan, step, changes, message, outcome, refersTo } = entry;
  return JSON.stringify({
    index,
    at,
    actor: { kind: actor.kind, name: actor.name, signer: actor.signer ?? null },
    verb,
    target,
    ...(unit && { unit }),
    ...(plan && { plan }),
    ...(step && { step }),
    ...(changes && changes.length > 0 && { changes }),
    ...(message && { message }),
    outcome,
    ...(refersTo !== undefined && refersTo !== null && { refersTo }),
  });
}

/** Its hash as a leaf of the tree (RFC 6962, section 2.1): a zero byte goes before it. Undefined where the browser computes none (no HTTPS). */
export async function leafOf(entry: Entry): Promise<string | undefined> {
  if (!globalThis.crypto?.subtle) return undefined;
  const text = new TextEncoder().encode(canonical(entry));
  const bytes = new Uint8Array(text.length + 1);
  bytes.set(text, 1);
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
