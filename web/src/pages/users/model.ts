import type { User } from '@/api/types';

/** A user as administrators see them. */
export type ListedUser = User & {
  /** Groups that were given here; those of single sign-on come with each sign-in. */
  storedGroups?: string[];
  /** Has not chosen a password yet. */
  invited?: boolean;
  invitationExpiresAt?: string;
};
