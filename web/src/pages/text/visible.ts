// Text that others wrote, made harmless to the eye: what turns writing around, hides in it or steers a terminal is shown by a sign.

/** A piece of a text: as it is, or a sign in place of a character that can't be seen. */
export type Piece = { text: string; sign?: undefined } | { text: string; sign: string };

/** Letters of one text that are shown; a log line has no more than 8 KiB, other texts have their own, lower limits. */
export const LONGEST = 16_384;

const NAMES: ReadonlyMap<number, string> = new Map([
  [0x09, 'TAB'],
  [0x0a, 'LF'],
  [0x0d, 'CR'],
  [0x1b, 'ESC'],
  [0x7f, 'DEL'],
  [0x00ad, 'SOFT HYPHEN'],
  [0x061c, 'ARABIC LETTER MARK'],
  [0x200b, 'ZERO WIDTH SPACE'],
  [0x200e, 'LEFT-TO-RIGHT MARK'],
  [0x200f, 'RIGHT-TO-LEFT MARK'],
  [0x2028, 'LINE SEPARATOR'],
  [0x2029, 'PARAGRAPH SEPARATOR'],
  [0x202a, 'LEFT-TO-RIGHT EMBEDDING'],
  [0x202b, 'RIGHT-TO-LEFT EMBEDDING'],
  [0x202c, 'POP DIRECTIONAL FORMATTING'],
  [0x202d, 'LEFT-TO-RIGHT OVERRIDE'],
  [0x202e, 'RIGHT-TO-LEFT OVERRIDE'],
  [0x2060, 'WORD JOINER'],
  [0x2066, 'LEFT-TO-RIGHT ISOLATE'],
  [0x2067, 'RIGHT-TO-LEFT ISOLATE'],
  [0x2068, 'FIRST STRONG ISOLATE'],
  [0x2069, 'POP DIRECTIONAL ISOLATE'],
  [0xfeff, 'BYTE ORDER MARK'],
]);

function isHidden(code: number): boolean {
  return (
    code < 0x20 ||
    (code >= 0x7f && code < 0xa0) ||
    NAMES.has(code) ||
    (code >= 0x206a && code <= 0x206f) ||
    (code >= 0xd800 && code <= 0xdfff) || // half of a pair: no character
    (code >= 0xfff9 && code <= 0xfffb) ||
    (code >= 0xe0000 && code <= 0xe007f) // tags: a text in the text, that nobody sees
  );
}

/** The sign that stands for a character: of ASCII's its own picture, else its number. */
function sign(code: number): string {
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return '␡';
  return `‹${code.toString(16).toUpperCase().padStart(4, '0')}›`;
}

function named(code: number): string {
  const number = `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
  const name = NAMES.get(code);
  return name === undefined ? number : `${number} ${name}`;
}

/** Takes a text apart. What is not there is an empty one. With `lines`, line ends and tabs are what they are: for a text that is shown over several lines. */
export function visible(text: string | null | undefined, lines = false): Piece[] {
  const pieces: Piece[] = [];
  let plain = '';
  let letters = 0;
  for (const letter of text ?? '') {
    letters += letter.length;
    if (letters > LONGEST) {
      plain += '…';
      break;
    }
    const code = letter.codePointAt(0) ?? 0;
    if (!isHidden(code) || (lines && (code === 0x0a || code === 0x09))) {
      plain += letter;
      continue;
    }
    if (plain !== '') pieces.push({ text: plain });
    plain = '';
    pieces.push({ text: sign(code), sign: named(code) });
  }
  if (plain !== '') pieces.push({ text: plain });
  return pieces;
}

/** The same as one string: for titles, file names and what is read aloud. */
export function visibleText(text: string | null | undefined, lines = false): string {
  return visible(text, lines)
    .map((piece) => piece.text)
    .join('');
}
