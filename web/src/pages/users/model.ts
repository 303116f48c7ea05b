import type { User } from '@/api/types';

/** What a form says of a user. */
export type UserFields = { displayName: string; email: string; groups: string[] };

/** A user as administrators see them. */
export type ListedUser = User & {
  /** Groups that were given here; those of single sign-on come with each sign-in. */
  storedGroups?: string[];
  /** Has not chosen a password yet. */
  invited?: boolean;
  invitationExpiresAt?: string;
};

/** The groups of a user that can be changed here. */
export function ownGroups({ storedGroups, groups }: ListedUser): string[] {
  return storedGroups ?? groups;
}

/** What a person has changed of a user, and nothing else: what somebody else changed meanwhile stays so. */
export function changedOf(user: ListedUser, { displayName, email, groups }: UserFields): Partial<UserFields> {
  const sorted = (groups: string[]) => JSON.stringify([...groups].sort());
  return {
    ...(displayName !== user.displayName && { displayName }),
    ...(email !== user.email && { email }),
    ...(sorted(groups) !== sorted(ownGroups(user)) && { groups }),
  };
}
