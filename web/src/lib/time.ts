/** Times as people read them. Everything from the engine is RFC 3339 in UTC. */
import type { Language } from '@/i18n/text';

const ZONE: Intl.DateTimeFormatOptions = { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };

function written(date: Date, zone?: string): string {
  const parts = new Intl.DateTimeFormat('en-CA', { ...ZONE, ...(zone && { timeZone: zone }) }).formatToParts(date);
  const part = (type: string) => parts.find((found) => found.type === type)?.value ?? '';
  return `${part('year')}-${part('month')}-${part('day')} ${part('hour')}:${part('minute')}:${part('second')}`;
}

/** `2026-11-27 13:05:09` in a zone; the reader's own if none is given. Empty for what is no time. */
export function clock(at: string | number | Date, zone?: string): string {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? '' : written(date, zone);
}

/** The same in UTC, said so. */
export function utc(at: string | number | Date): string {
  const shown = clock(at, 'UTC');
  return shown && `${shown} UTC`;
}

/** A moment for where nothing can be hovered over: in the reader's zone, and the same in UTC. */
export function both(at: string | number | Date): string {
  return `${clock(at)} · ${utc(at)}`;
}

const STEPS: readonly [unit: string, zh: string, seconds: number][] = [
  ['d', ' 天', 86_400],
  ['h', ' 小时', 3_600],
  ['m', ' 分钟', 60],
  ['s', ' 秒', 1],
];

/** A span in its largest unit, with the next one where that says much: `3d 4h`, `12m`, `8s`. */
export function span(seconds: number, language: Language = 'en'): string {
  let rest = Math.max(0, Math.floor(seconds));
  const said: string[] = [];
  for (const [unit, zh, size] of STEPS) {
    const count = Math.floor(rest / size);
    if (count === 0 && said.length === 0 && size > 1) continue;
    if (count > 0 || said.length === 0) said.push(`${count}${language === 'zh' ? zh : unit}`);
    rest -= count * size;
    if (said.length === 2 || size <= 60 || count >= 10) break;
  }
  return said.join(' ');
}

/** How long ago, or how far ahead: `4m ago`, `in 2h`, `just now`. */
export function ago(at: string | number | Date, now: number, language: Language = 'en'): string {
  const seconds = (now - new Date(at).getTime()) / 1000;
  if (Number.isNaN(seconds)) return '';
  const zh = language === 'zh';
  if (Math.abs(seconds) < 5) return zh ? '刚刚' : 'just now';
  const length = span(Math.abs(seconds), language);
  if (seconds > 0) return zh ? `${length}前` : `${length} ago`;
  return zh ? `${length}后` : `in ${length}`;
}
