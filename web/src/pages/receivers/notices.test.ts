import { describe, expect, it } from 'vitest';

import { type Notice, outcomeOf, records } from './notices';

const notice = (receiver: string, minute: number, more: Partial<Notice> = {}): Notice => ({
  notice: { id: `${receiver}${minute}`, receiver, reason: 'first', at: `2026-11-26T12:${String(minute).padStart(2, '0')}:00Z`, firing: [], resolved: [] },
  attempts: 1,
  finishedAt: `2026-11-26T12:${String(minute).padStart(2, '0')}:30Z`,
  isDead: false,
  problem: '',
  ...more,
});
const dead = { isDead: true, problem: '402 Payment Required' };

describe('notices', () => {
  it('says what became of each', () => {
    expect([notice('a', 1), notice('a', 1, dead), notice('a', 1, { finishedAt: null })].map(outcomeOf)).toEqual(['said', 'given', 'due']);
  });

  it('counts what was given up since something arrived, and nothing before', () => {
    const of = records([notice('default/sms', 1, dead), notice('sms', 2), notice('sms', 3, { ...dead, problem: 'old' }), notice('sms', 4, dead), notice('mail', 5, { finishedAt: null, problem: 'busy' })]);
    expect(of.get('sms')).toEqual({ dead: 2, waiting: 0, problem: '402 Payment Required', lastSaid: '2026-11-26T12:02:30Z' });
    expect(of.get('mail')).toEqual({ dead: 0, waiting: 1, problem: 'busy' });
  });
});
