import { describe, expect, it } from 'vitest';

import { lifeOf, scopesOf, scopeText, usage } from './scopes';

describe('scopes', () => {
  it('never become everything by being left empty', () => {
    expect(scopesOf(false, [])).toEqual([]);
    expect(scopesOf(true, [])).toBeUndefined();
    expect(scopesOf(true, [{ verbs: [], kinds: [] }])).toBeUndefined();
    expect(scopesOf(true, [{ verbs: ['view'], kinds: [] }, { verbs: [], kinds: [] }])).toBeUndefined();
    expect(scopesOf(true, [{ verbs: ['view'], kinds: [] }])).toEqual([{ verbs: ['view'], kinds: [] }]);
  });

  it('are said in words', () => {
    expect(scopeText({ verbs: ['view', 'deploy'], kinds: [] }, 'anything', 'all kinds')).toBe('view, deploy · all kinds');
  });
});

describe('a token', () => {
  it('is in no argument of a command', () => {
    const { commandLine, curl } = usage('https://keel.example.com', 'ek_secret');
    expect(commandLine).not.toContain('ek_secret');
    expect(curl.split('\n')[0]).not.toContain('ek_secret');
  });

  it('lives, expires soon, or has', () => {
    const now = Date.parse('2026-11-26T12:00:00Z');
    expect(['2027-01-01T00:00:00Z', '2026-11-30T00:00:00Z', '2026-11-26T11:59:00Z', 'never'].map((at) => lifeOf(at, now))).toEqual(['lives', 'soon', 'expired', 'lives']);
  });
});
