import type { Scope } from '@/api/types';

/** Ways to use a token, as they can be pasted. The token goes through the environment: an argument is seen by everybody on the machine. */
export function usage(origin: string, token: string): { commandLine: string; curl: string } {
  return {
    commandLine: `export EVENKEEL_SERVER=${origin}\nread -rs EVENKEEL_TOKEN && export EVENKEEL_TOKEN   # paste the token, press Enter\nevenkeel get devices`,
    curl: `curl --fail --header @- ${origin}/api/v1/devices <<'END'\nAuthorization: Bearer ${token}\nEND`,
  };
}

/** A scope in words; what is empty means all. */
export function scopeText({ verbs, kinds }: Scope, anyVerb: string, anyKind: string): string {
  return `${verbs.length > 0 ? verbs.join(', ') : anyVerb} · ${kinds.length > 0 ? kinds.join(', ') : anyKind}`;
}

/** What is sent: a scope that says nothing would mean everything, and is not meant where somebody narrows. */
export function scopesOf(isNarrowed: boolean, scopes: Scope[]): Scope[] | undefined {
  if (!isNarrowed) return [];
  const said = scopes.filter(({ verbs, kinds }) => verbs.length > 0 || kinds.length > 0);
  return said.length > 0 && said.length === scopes.length ? said : undefined;
}

/** Milliseconds of a token that are left when it is said that it expires soon. */
const SOON = 7 * 86_400_000;

/** How it stands with its life. */
export function lifeOf(expiresAt: string, now: number): 'lives' | 'soon' | 'expired' {
  const left = Date.parse(expiresAt) - now;
  if (Number.isNaN(left) || left > SOON) return 'lives';
  return left > 0 ? 'soon' : 'expired';
}
