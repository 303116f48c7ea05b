/** Devices by name, as a commit would change them. */
export type Reach = { deleted: string[]; touched: string[]; of: number };

/** Letters of a commit that tell it from others. */
export const SHORT = 10;

/** A commit, short; what is no commit (`working-tree…`) as it is. */
export function shortCommit(commit: string): string {
  return /^[0-9a-f]{40}$/.test(commit) ? commit.slice(0, SHORT) : commit;
}
