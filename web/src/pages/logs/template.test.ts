import { describe, expect, it } from 'vitest';

import { mark, templateParts } from './template';

const shown = (template: string, line: string): string =>
  mark(template, line)
    .map((part) => (part.varies ? `[${part.text}]` : part.text))
    .join('');

describe('what varies in a line', () => {
  it('is marked', () => {
    expect(shown('Failed password for <*> from <ip> port <num> ssh2', 'Failed password for root from 10.0.0.7 port 50122 ssh2')).toBe(
      'Failed password for [root] from [10.0.0.7] port [50122] ssh2',
    );
    expect(shown('GET <path> took <num>ms', 'GET /api/v1/devices took 12ms')).toBe('GET [/api/v1/devices] took [12]ms');
  });

  it('may be several words, at the end, at the beginning or all of it', () => {
    expect(shown('user <str> logged in', 'user "Ada Lovelace" logged in')).toBe('user ["Ada Lovelace"] logged in');
    expect(shown('panic at <*>', 'panic at src/main.rs line 12')).toBe('panic at [src/main.rs line 12]');
    expect(shown('<num> files', '12 files')).toBe('[12] files');
    expect(shown('<*>', 'anything')).toBe('[anything]');
    expect(shown('<num> <num>', '1 2')).toBe('[1] [2]');
  });

  it('ends where the line ends, not where the last word comes first', () => {
    expect(shown('job <*> done', 'job is done and done')).toBe('job [is done and] done');
  });

  it('takes several spaces for one', () => {
    expect(shown('a <num> b', '  a   12\t b ')).toBe('a [12] b');
  });

  it('is nothing where the line does not fit', () => {
    for (const [template, line] of [
      ['a <num> b', 'a 12 c'],
      ['a b', 'a b c'],
      ['a b', 'x a b'],
      ['a <num> b', ''],
      ['<num> a', 'a'.repeat(3)],
    ] as const) {
      expect(mark(template, line)).toEqual(line === 'aaa' ? [{ text: 'aaa', varies: false }] : [{ text: line, varies: false }]);
    }
  });

  it('knows masks from other angle brackets', () => {
    expect(templateParts('<b> is <num><*>')).toEqual([
      { text: '<b> is ', varies: false },
      { text: '<num>', varies: true },
      { text: '<*>', varies: true },
    ]);
  });

  it('takes no time on a line made to be slow', () => {
    const template = '<*> a '.repeat(200);
    expect(mark(template, 'a '.repeat(4000)).length).toBeGreaterThan(0);
  });
});
