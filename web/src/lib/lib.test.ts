import { describe, expect, it } from 'vitest';
import { ownPath } from './address';
import { COMMENT, commentFault } from './comment';
import { fullName, parseName, pathOf, shownName } from './name';
import { parseSelector, selectorOf } from './selector';
import { ago, both, clock, span, utc } from './time';
import { shown } from './units';
import { usesOf } from './uses';

describe('selectors', () => {
  const read = (text: string) => {
    const parsed = parseSelector(text);
    return 'problem' in parsed ? `${parsed.problem}: ${parsed.at}` : parsed.requirements;
  };

  it('are read as Kubernetes writes them', () => {
    expect(read('a=b, c!=d,e in (x, y),f,!g,h==i,j notin (k)')).toEqual([
      { key: 'a', is: '=', value: 'b' }, { key: 'c', is: '!=', value: 'd' }, { key: 'e', is: 'in', values: ['x', 'y'] },
      { key: 'f', is: 'there' }, { key: 'g', is: 'missing' }, { key: 'h', is: '=', value: 'i' }, { key: 'j', is: 'notin', values: ['k'] },
    ]);
    expect(read('example.com/role=web')).toEqual([{ key: 'example.com/role', is: '=', value: 'web' }]);
    expect(read('')).toEqual([]);
  });

  it('say what is wrong', () => {
    expect(read('a in (b')).toBe('parentheses: a in (b');
    expect(read('a)')).toBe('parentheses: a)');
    expect(read('-a=b')).toBe('key: -a=b');
    expect(read('a=b c')).toBe('value: a=b c');
    expect(read('a b')).toBe('key: a b');
    expect(read(`a=${'x'.repeat(64)}`)).toMatch(/^value/);
  });

  it('are made of labels', () => expect(selectorOf({ site: 'ams1', role: 'web' })).toBe('site=ams1,role=web'));
});

describe('times', () => {
  it('are in the reader’s zone, and in UTC', () => {
    expect(clock('2026-11-27T00:05:09Z', 'Asia/Shanghai')).toBe('2026-11-27 08:05:09');
    expect(clock('2026-11-27T00:05:09Z', 'UTC')).toBe('2026-11-27 00:05:09');
    expect(utc('2026-11-27T01:00:00+01:00')).toBe('2026-11-27 00:00:00 UTC');
    expect(both('2026-11-27T00:05:09Z')).toBe(`${clock('2026-11-27T00:05:09Z')} · 2026-11-27 00:05:09 UTC`);
    expect([clock('nonsense'), utc('')]).toEqual(['', '']);
  });

  it('are spans in two units at most', () => {
    expect([0, 8, 61, 3_600, 5_400, 90_061, 864_000].map((seconds) => span(seconds))).toEqual(['0s', '8s', '1m', '1h', '1h 30m', '1d 1h', '10d']);
    expect(span(5_400, 'zh')).toBe('1 小时 30 分钟');
  });

  it('are near, past or to come', () => {
    const now = Date.parse('2026-11-27T12:00:00Z');
    expect([ago('2026-11-27T11:59:58Z', now), ago('2026-11-27T11:56:00Z', now), ago('2026-11-27T14:00:00Z', now), ago('x', now)]).toEqual(['just now', '4m ago', 'in 2h', '']);
    expect([ago('2026-11-27T11:56:00Z', now, 'zh'), ago('2026-11-27T14:00:00Z', now, 'zh')]).toEqual(['4 分钟前', '2 小时后']);
  });
});

describe('names', () => {
  it('have a namespace, which is not shown where it is the usual one', () => {
    expect(parseName('web-01')).toEqual({ namespace: 'default', name: 'web-01' });
    expect([shownName(parseName('default/web-01')), shownName(parseName('lab/web-01'))]).toEqual(['web-01', 'lab/web-01']);
    expect([fullName(parseName('web-01')), pathOf({ namespace: 'a', name: 'b/../c' })]).toEqual(['default/web-01', 'a/b%2F..%2Fc']);
  });
});

describe('the way on after signing in', () => {
  it('leads to own pages only', () => {
    for (const bad of [null, '', 'devices', '//evil.example', '/\\evil.example', '/a\\b', 'https://evil.example', '/\tx', '/sign-in?next=/', '/api/v1/oidc/login', 'javascript:alert(1)']) expect(ownPath(bad), String(bad)).toBe('/');
    expect(ownPath('/devices?site=ams1&q=a')).toBe('/devices?site=ams1&q=a');
  });
});

describe('values', () => {
  it('are shown in their units', () => {
    expect([shown(0.4256, 'ratio'), shown(1_610_612_736, 'bytes'), shown(125_000, 'bytesPerSecond'), shown(125_000, 'bytes_per_second'), shown(0.0123, 'seconds'), shown(4, 'count'), shown(0.5, 'Count')]).toEqual(['42.6 %', '1.5 GiB', '122.1 KiB/s', '122.1 KiB/s', '12.3 ms', '4', '0.50']);
  });
});

describe('what a device uses', () => {
  it('is read from the short text of lists', () => {
    expect(usesOf('cpu 12 %, mem 40 %, /var/lib 71 %, 3 errors in a minute of log')).toEqual({ cpu: 0.12, memory: 0.4, disk: { name: '/var/lib', ratio: 0.71 } });
    expect(usesOf('not known: no route to host')).toEqual({ problem: 'no route to host' });
    expect([usesOf(''), usesOf(undefined), usesOf('3 errors in a minute of log')]).toEqual([{}, {}, {}]);
  });

  it('is read from its series', () => {
    expect(usesOf({ usage: { at: '', values: { 'cpu.ratio': 0.5, 'disks[/].ratio': 0.2, 'disks[/a].ratio': 0.9 } } })).toEqual({ cpu: 0.5, disk: { name: '/a', ratio: 0.9 } });
    expect(usesOf({ usage: null, problem: 'no answer' })).toEqual({ problem: 'no answer' });
  });
});

describe('a comment', () => {
  it('is one line, and no more bytes than the engine takes', () => {
    expect([commentFault(''), commentFault('disk was full, see OPS-12'), commentFault('x'.repeat(COMMENT)), commentFault('撤'.repeat(166))]).toEqual([undefined, undefined, undefined, undefined]);
    expect([commentFault('x'.repeat(COMMENT + 1)), commentFault('撤'.repeat(167)), commentFault('😀'.repeat(126))]).toEqual(['commentLong', 'commentLong', 'commentLong']);
    expect([commentFault('a\nb'), commentFault('a\tb'), commentFault('\u0085')]).toEqual(['commentLines', 'commentLines', 'commentLines']);
  });
});
