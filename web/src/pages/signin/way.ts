/** What the address says about the way in. Tokens are after the `#`, so that they reach no server and no log. */
export interface Way {
  token: string;
  invitation: string;
  user: string;
  next: string | null;
}

export function readWay(hash: string, search: string): Way {
  const after = new URLSearchParams(hash.replace(/^#/, ''));
  return {
    token: after.get('token') ?? '',
    invitation: after.get('invitation') ?? '',
    user: after.get('user') ?? '',
    next: new URLSearchParams(search).get('next'),
  };
}
