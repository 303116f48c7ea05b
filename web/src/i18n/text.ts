/** Texts of the UI: each one in English and in Chinese, side by side, next to what shows it. */

export type Language = 'en' | 'zh';
/** `[English, Chinese]`. */
export type Pair = readonly [en: string, zh: string];
export type Texts = Readonly<Record<string, Pair>>;
export type Values = Readonly<Record<string, string | number>>;
export type Say<T extends Texts> = (key: keyof T & string, values?: Values) => string;

/** Declares texts; the compiler then knows their keys. */
export function text<const T extends Texts>(texts: T): T {
  return texts;
}

/**
 * Fills in a text: `{name}` is the value of that name, `{n|device|devices}` is a number with its word
 * (`1 device`, `3 devices`).
 */
export function fill(template: string, values: Values = {}): string {
  return template.replace(/\{(\w+)(?:\|([^|}]*)\|([^|}]*))?\}/g, (whole, key: string, one?: string, many?: string) => {
    const value = values[key];
    if (value === undefined) return whole;
    const shown = typeof value === 'number' ? value.toLocaleString('en-US').replaceAll(',', '\u202f') : value;
    if (one === undefined || many === undefined) return shown;
    return `${shown} ${value === 1 ? one : many}`;
  });
}

export function say<T extends Texts>(texts: T, language: Language): Say<T> {
  const place = language === 'zh' ? 1 : 0;
  return (key, values) => {
    const pair = texts[key];
    return pair ? fill(pair[place], values) : key;
  };
}

/** The language to begin with: what was chosen before, else the browser's. */
export function firstLanguage(stored: string | null, wanted: readonly string[]): Language {
  if (stored === 'en' || stored === 'zh') return stored;
  const known = wanted.map((tag) => tag.toLowerCase()).find((tag) => tag.startsWith('zh') || tag.startsWith('en'));
  return known?.startsWith('zh') ? 'zh' : 'en';
}
