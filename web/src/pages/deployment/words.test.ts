import { describe, expect, it } from 'vitest';

import { say } from '@/i18n/text';
import type { Wait } from '../deployments/types';
import texts from './text';
import { batchOf, clearedBy, countdown, secondsLeft, share, wanted } from './words';

const [en, zh] = [say(texts, 'en'), say(texts, 'zh')];
const wait = (kind: string, clearedBy = 'the engine says'): Wait => ({ target: 'device/a', wants: '', waitingOn: { kind }, text: '', clearedBy });

describe('countdowns', () => {
  it('end at nothing, and never go below it', () => {
    const now = Date.parse('2026-11-26T12:00:00Z');
    expect(secondsLeft('2026-11-26T12:04:05Z', now)).toBe(245);
    expect(secondsLeft('2026-11-26T11:00:00Z', now)).toBe(0);
    expect([secondsLeft('soon', now), secondsLeft(null, now)]).toEqual([undefined, undefined]);
    expect([0, 5, 245, 3723].map(countdown)).toEqual(['0:00', '0:05', '4:05', '1:02:03']);
    expect(share('2026-11-26T11:59:00Z', '2026-11-26T12:01:00Z', now)).toBe(0.5);
    expect([share(undefined, '2026-11-26T12:01:00Z', now), share('2026-11-26T12:01:00Z', '2026-11-26T12:00:00Z', now)]).toEqual([0, 0]);
  });
});

describe('words', () => {
  it('says what is wanted in both languages, and what it does not know as it is', () => {
    expect(wanted('open batch 2 (3 of 12 left): a, b and c', en)).toEqual({ said: 'open batch 2: 3 of the 12 devices that are left', names: 'a, b and c' });
    expect(wanted('open batch 3, the last (1 device)', zh)).toEqual({ said: '开始第 3 批（最后一批）', names: '1 台设备' });
    expect(wanted('update to revision 7', zh).said).toBe('更新到版本 7');
    expect(wanted('act on a failure (a: b)', zh)).toEqual({ said: 'act on a failure (a: b)', names: '' });
    expect([batchOf('open batch 12, the last (1 device)'), batchOf('reboot')]).toEqual([12, undefined]);
  });

  it('takes the engine’s word for who clears it where it is in the reader’s language', () => {
    expect(clearedBy(wait('Soak'), 'en', en)).toBe('the engine says');
    expect(clearedBy(wait('Soak'), 'zh', zh)).toBe('等待观察期结束');
    expect(clearedBy(wait('Approval', 'a person: evenkeel rollout approve'), 'en', en)).toBe('a person who may approve it');
    expect(clearedBy(wait('Another'), 'zh', zh)).toBe('the engine says');
  });
});
