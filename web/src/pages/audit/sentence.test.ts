import { describe, expect, it } from 'vitest';

import { PAYLOADS } from '../text/payloads';
import { about, type Entry } from './entry';
import { plain, sentence } from './sentence';

const entry = (more: Partial<Entry>): Entry => ({
  index: 7,
  at: '2026-11-26T12:00:00Z',
  actor: { kind: 'commit', name: 'Ada <ada@example.com>' },
  verb: 'apply',
  target: 'device/web-01',
  outcome: 'done',
  ...more,
});

describe('a sentence', () => {
  it('says who did what', () => {
    expect(plain(entry({}), 'en')).toBe('Ada <ada@example.com> updated device/web-01');
    expect(plain(entry({}), 'zh')).toBe('Ada <ada@example.com> 已更新 device/web-01');
    expect(plain(entry({ unit: 'deployment/nginx' }), 'en')).toBe('Ada <ada@example.com> updated device/web-01 for deployment/nginx');
    expect(plain(entry({ unit: 'deployment/nginx' }), 'zh')).toBe('Ada <ada@example.com> 已更新 device/web-01（deployment/nginx）');
  });

  it('says what came of it', () => {
    const actor = { kind: 'engine', name: 'evenkeel' };
    expect(plain(entry({ actor, outcome: 'begun' }), 'en')).toBe('Evenkeel begins to update device/web-01');
    expect(plain(entry({ actor, outcome: 'failed' }), 'en')).toBe('Evenkeel failed to update device/web-01');
    expect(plain(entry({ actor, outcome: 'failed' }), 'zh')).toBe('Evenkeel 未能更新 device/web-01');
    expect(plain(entry({ verb: 'pause', target: 'deployment/nginx', outcome: 'refused' }), 'en')).toBe(
      'Ada <ada@example.com> wanted to pause deployment/nginx, which was refused',
    );
  });

  it('names a unit once', () => {
    expect(plain(entry({ verb: 'start', target: 'deployment/nginx', unit: 'deployment/nginx' }), 'en')).toMatch(/rollout of deployment\/nginx$/);
  });

  it('stands verbs and outcomes that it does not know', () => {
    expect(plain(entry({ verb: 'polish' }), 'en')).toBe('Ada <ada@example.com> did “polish” to device/web-01');
    // What came of it is not known: it is not said to be done.
    expect(plain(entry({ verb: 'polish', outcome: 'odd' }), 'en')).toBe('Ada <ada@example.com>: do “polish” to device/web-01');
    expect(plain(entry({ outcome: 'constructor' }), 'en')).toBe('Ada <ada@example.com>: update device/web-01');
    for (const verb of ['constructor', '__proto__', 'toString']) expect(plain(entry({ verb }), 'en')).toContain(`“${verb}”`);
  });

  it('takes nothing in an entry for a mark of its own', () => {
    const odd = entry({ actor: { kind: 'user', name: '{target}' }, target: '{who}{unit}', verb: '{target}' });
    expect(sentence(odd, 'en').map((part) => [part.kind, part.text])).toEqual([
      ['who', '{target}'],
      ['words', ' did “'],
      ['words', '{target}'],
      ['words', '” to '],
      ['target', '{who}{unit}'],
    ]);
    for (const { text } of PAYLOADS) {
      const parts = sentence(entry({ actor: { kind: 'user', name: text }, target: text }), 'en');
      expect(parts.filter((part) => part.text === text).map((part) => part.kind)).toEqual(['who', 'target']);
    }
  });
});

describe('what it is about', () => {
  it('has a page, if it is of a kind that has one', () => {
    expect(about('device/web-01')).toEqual({ kind: 'device', shown: 'web-01', path: '/devices/default/web-01' });
    expect(about('device/lab/web-01')).toEqual({ kind: 'device', shown: 'lab/web-01', path: '/devices/lab/web-01' });
    expect(about('commit/0123456789abcdef')).toEqual({ kind: 'commit', shown: '0123456789' });
    expect(about('user/ada')).toEqual({ kind: 'user', shown: 'ada' });
    expect(about('')).toEqual({ kind: '', shown: '' });
  });

  it('has no page outside of ours', () => {
    expect(about('device/../../evil')).toEqual({ kind: 'device', shown: '../../evil', path: '/devices/../..%2Fevil' });
    expect(about('constructor/x')).toEqual({ kind: 'constructor', shown: 'x' });
    for (const { text } of PAYLOADS) expect(about(text).path).toBeUndefined();
  });
});
