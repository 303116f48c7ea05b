import { describe, expect, it } from 'vitest';

import { soon } from '../alerts/spans';
import { PAYLOADS } from '../text/payloads';
import { EMPTY, fromAlert, isActive, lacks, nameOf, selectorObject, selectorText, specOf } from './draft';

const now = Date.parse('2026-11-26T14:05:30.500Z');

describe('a silence that is written', () => {
  it('begins with just the alert that it is about', () => {
    const draft = fromAlert({ rule: 'ops/disk', device: 'ops/web-01' });
    expect(draft.namespace).toBe('ops');
    expect(specOf({ ...draft, reason: ' new disk ' }, now)).toEqual({ matchLabels: { rule: 'disk', device: 'web-01' }, until: '2026-11-26T18:05:30Z', reason: 'new disk' });
    expect(nameOf(draft, now)).toBe('silence-disk-web-01-1126-1405');
  });

  it('is named so that it can be a file and an object, whatever is in it', () => {
    for (const { text } of PAYLOADS) {
      expect(nameOf({ ...EMPTY, matchers: [{ key: 'a', value: text }] }, now)).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
    }
  });

  it('must say what it mutes, and until when', () => {
    expect(lacks(EMPTY, now)).toBe('needsMatch');
    expect(lacks({ ...EMPTY, devices: 'site=ams1' }, now)).toBeUndefined();
    expect(lacks({ ...EMPTY, devices: 'site=ams1', hours: 0 }, now)).toBe('untilNeeded');
    expect(lacks({ ...EMPTY, devices: 'site=ams1', hours: 0, until: '2027-01-26T14:05:30Z' }, now)).toBe('untilHint');
    expect(lacks({ ...EMPTY, devices: 'site=ams1', hours: 0, until: '2026-11-26T14:05:00Z' }, now)).toBe('untilHint');
    expect([isActive('2026-11-26T14:05:00Z', now), isActive('2026-11-26T15:00:00Z', now), isActive(undefined, now), isActive('x', now)]).toEqual([false, true, false, false]);
  });
});

it('a silence that is ended now ends when the engine has read that: it takes no end that is over', () => {
  expect(soon(now)).toBe('2026-11-26T14:05:32Z');
  expect(soon(Date.parse('2026-11-26T14:05:30Z'))).toBe('2026-11-26T14:05:31Z');
  for (let after = 0; after < 2000; after += 37) expect(Date.parse(soon(now + after)) - (now + after)).toBeGreaterThanOrEqual(1000);
});

describe('selectors', () => {
  it('go from text to object and back', () => {
    const text = 'site=ams1,role in (web,db),tier notin (x),canary,!old';
    expect(selectorObject(text)).toEqual({
      matchLabels: { site: 'ams1' },
      matchExpressions: [
        { key: 'role', operator: 'In', values: ['web', 'db'] },
        { key: 'tier', operator: 'NotIn', values: ['x'] },
        { key: 'canary', operator: 'Exists' },
        { key: 'old', operator: 'DoesNotExist' },
      ],
    });
    expect(selectorText(selectorObject(text))).toBe(text);
    expect(selectorObject('a=b,a=c')).toEqual({ matchLabels: { a: 'b' }, matchExpressions: [{ key: 'a', operator: 'In', values: ['c'] }] });
    expect([selectorObject(''), selectorObject('('), selectorText(undefined)]).toEqual([undefined, undefined, '']);
  });
});
