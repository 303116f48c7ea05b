import { describe, expect, it } from 'vitest';
import { fill, firstLanguage, type Pair, say, text } from './text';

const FILES = import.meta.glob<{ default: Record<string, Pair> }>(['../**/text.ts', '!./text.ts', './frame.ts'], { eager: true });

/** Names of the values that a text takes. */
function values(template: string): string[] {
  return [...template.matchAll(/\{(\w+)(?:\|[^}]*)?\}/g)].map(([, name]) => name ?? '').sort();
}

describe('texts', () => {
  it('are there at all', () => {
    expect(Object.keys(FILES).length).toBeGreaterThan(8);
    for (const [file, { default: texts }] of Object.entries(FILES)) expect(Object.keys(texts ?? {}).length, file).toBeGreaterThan(0);
  });

  for (const [file, { default: texts }] of Object.entries(FILES)) {
    it(`${file} is complete in both languages`, () => {
      for (const [key, pair] of Object.entries(texts)) {
        expect(pair, `${file}: ${key} is no pair`).toHaveLength(2);
        const [en, zh] = pair;
        expect(en.trim(), `${file}: ${key} in English`).not.toBe('');
        expect(zh.trim(), `${file}: ${key} in Chinese`).not.toBe('');
        // A number with its word may be there for the word alone, which Chinese does without.
        expect(values(en), `${file}: ${key} takes values in Chinese that it does not in English`).toEqual(expect.arrayContaining(values(zh)));
        expect(values(zh), `${file}: ${key} leaves values out in Chinese`).toEqual(expect.arrayContaining(values(en).filter((name) => en.includes(`{${name}}`))));
        expect(en, `${file}: ${key} has Chinese in its English`).not.toMatch(/\p{Script=Han}/u);
      }
    });
  }

  it('are filled in', () => {
    expect(fill('{n|device|devices} in {site}', { n: 1, site: 'ams1' })).toBe('1 device in ams1');
    expect(fill('{n|device|devices}', { n: 12_000 })).toBe('12\u202f000 devices');
    expect(fill('{n|device|devices}', { n: 0 })).toBe('0 devices');
    expect(fill('{gone} stays')).toBe('{gone} stays');
    expect(fill('{a}', { a: '{b}', b: 'x' })).toBe('{b}');
  });

  it('speak the language that was chosen, else that of the browser', () => {
    const texts = text({ hello: ['Hello', '你好'] });
    expect([say(texts, 'en')('hello'), say(texts, 'zh')('hello')]).toEqual(['Hello', '你好']);
    expect(firstLanguage('zh', ['en'])).toBe('zh');
    expect(firstLanguage(null, ['fr-FR', 'zh-TW', 'en'])).toBe('zh');
    expect(firstLanguage('klingon', ['de'])).toBe('en');
  });
});
