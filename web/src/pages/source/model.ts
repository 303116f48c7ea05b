import type { Source } from '@/api/types';

/** Devices by name, as a commit would change them. */
export type Reach = { deleted: string[]; touched: string[]; of: number };

/** A commit that does more than it may without being asked. */
export type TooFarView = { id: string; reason: string; commit?: string; reach?: Partial<Reach> };

/** As the server gives it. */
export type SourceView = Omit<Source, 'tooFar'> & { tooFar?: TooFarView | null; signer?: string | null; signature?: { state?: string; signer?: string } | null };

/** Letters of a commit that tell it from others. */
export const SHORT = 10;

/** A commit, short; what is no commit (`working-tree…`) as it is. */
export function shortCommit(commit: string): string {
  return /^[0-9a-f]{40}$/.test(commit) ? commit.slice(0, SHORT) : commit;
}
