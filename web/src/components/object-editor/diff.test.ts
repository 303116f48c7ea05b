import { describe, expect, it } from 'vitest';

import { countsOf, diffLines, readUnified, withContext } from './diff';

const shape = (from: string, to: string) => diffLines(from, to).map((line) => `${{ same: ' ', added: '+', removed: '-', head: '@' }[line.kind]}${line.text}`);

describe('diffLines', () => {
  it('keeps what both have', () => {
    expect(shape('a\nb\nc\n', 'a\nx\nc\n')).toEqual([' a', '-b', '+x', ' c']);
    expect(shape('', 'a\n')).toEqual(['+a']);
    expect(shape('a\n', '')).toEqual(['-a']);
    expect(shape('a\nb\n', 'a\nb\n')).toEqual([' a', ' b']);
    expect(shape('a\nb\nc\nd\n', 'b\nd\ne\n')).toEqual(['-a', ' b', '-c', ' d', '+e']);
  });

  it('makes the new text out of the old one, whatever they are', () => {
    const from = 'one\ntwo\nthree\nfour\nfive\nsix';
    const to = 'zero\none\nthree\nfour!\nsix\nseven';
    const lines = diffLines(from, to);
    expect(lines.filter((line) => line.kind !== 'added').map((line) => line.text).join('\n')).toBe(from);
    expect(lines.filter((line) => line.kind !== 'removed').map((line) => line.text).join('\n')).toBe(to);
  });

  it('does not compare what is too long, and loses nothing of it', () => {
    const text = (word: string) => Array.from({ length: 2500 }, (_, index) => `${word} ${index}`).join('\n');
    expect(countsOf(diffLines(text('a'), text('b')))).toEqual({ added: 2500, removed: 2500 });
  });

  it('shows a few lines around a change', () => {
    const text = Array.from({ length: 20 }, (_, index) => `${index}`);
    const lines = withContext(diffLines(text.join('\n'), text.map((line) => (line === '10' ? 'ten' : line)).join('\n')));
    expect(lines.map((line) => line.text)).toEqual(['⋯', '7', '8', '9', '10', 'ten', '11', '12', '13']);
  });
});

describe('readUnified', () => {
  it('numbers the lines of each hunk', () => {
    const text = 'diff --git a/x b/x\nindex 1..2\n--- a/x\n+++ b/x\n@@ -3,3 +3,3 @@ spec:\n a\n-b\n+c\n d\n\\ No newline at end of file\n';
    const lines = readUnified(text);
    expect(lines.map((line) => [line.kind, line.old, line.new])).toEqual([
      ['head', undefined, undefined],
      ['head', undefined, undefined],
      ['head', undefined, undefined],
      ['same', 3, 3],
      ['removed', 4, undefined],
      ['added', undefined, 4],
      ['same', 5, 5],
    ]);
    expect(countsOf(lines)).toEqual({ added: 1, removed: 1 });
  });

  it('takes lines that begin like heads within a hunk as lines', () => {
    expect(readUnified('@@ -1 +1 @@\n--- x\n+++ y\n').map((line) => line.kind)).toEqual(['head', 'removed', 'added']);
  });

  it('reads nothing out of what is no diff', () => {
    expect(readUnified('<script>alert(1)</script>')).toEqual([]);
    expect(readUnified('')).toEqual([]);
  });
});
