import { describe, expect, it } from 'vitest';

import { LONGEST, visible, visibleText } from './visible';
import { PAYLOADS } from './payloads';

describe('visible', () => {
  it('leaves plain text of any script alone, in one piece', () => {
    for (const text of ['sshd: session opened', '交换机 sw-01 已断开', 'café – naïve', 'שלום', '👩‍🔧', '']) {
      expect(visible(text)).toEqual(text === '' ? [] : [{ text }]);
    }
  });

  it('shows what steers a terminal', () => {
    expect(visibleText('\u001b[31mred\u0007')).toBe('␛[31mred␇');
    expect(visible('\u001b')).toEqual([{ text: '␛', sign: 'U+001B ESC' }]);
    expect(visibleText('\u009b2J\u007f')).toBe('‹009B›2J␡');
  });

  it('shows what turns writing around or hides in it', () => {
    expect(visibleText('user\u202egnp.exe')).toBe('user‹202E›gnp.exe');
    expect(visible('\u202e')[0]?.sign).toBe('U+202E RIGHT-TO-LEFT OVERRIDE');
    expect(visibleText('pay\u200bpal \u{e0041}')).toBe('pay‹200B›pal ‹E0041›');
  });

  it('keeps line ends only where they are asked for', () => {
    expect(visibleText('a\nb\tc')).toBe('a␊b␉c');
    expect(visibleText('a\nb\tc\r', true)).toBe('a\nb\tc␍');
  });

  it('knows half of a pair from a whole one', () => {
    expect(visibleText('\ud83d!')).toBe('‹D83D›!');
    expect(visibleText('\ud83d\ude00')).toBe('😀');
  });

  it('ends at its limit', () => {
    expect(visibleText('x'.repeat(LONGEST))).toHaveLength(LONGEST);
    expect(visibleText('x'.repeat(LONGEST * 10))).toBe(`${'x'.repeat(LONGEST)}…`);
  });

  it('leaves nothing unseen in any payload', () => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be left
    const unseen = /[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]/u;
    for (const payload of PAYLOADS) expect(visibleText(payload.text)).not.toMatch(unseen);
  });
});
