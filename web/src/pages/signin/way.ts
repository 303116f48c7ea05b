import { visibleText } from '../text/visible';

/** What the address says about the way in. Tokens are after the `#`, so that they reach no server and no log. */
export interface Way {
  token: string;
  invitation: string;
  user: string;
  next: string | null;
  /** Why the provider's sign-in did not work, as the engine says it; anybody can write such an address, so it is short and only text. */
  problem: string;
}

/** Letters of a problem that are shown. */
const LONGEST = 300;

export function readWay(hash: string, search: string): Way {
  const after = new URLSearchParams(hash.replace(/^#/, ''));
  return {
    token: after.get('token') ?? '',
    invitation: after.get('invitation') ?? '',
    user: after.get('user') ?? '',
    next: new URLSearchParams(search).get('next'),
    problem: visibleText([...(after.get('problem') ?? '')].slice(0, LONGEST).join('')),
  };
}
