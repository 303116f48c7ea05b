// Lines of logs as the server gives them.

/** A line. */
export type LogLine = {
  number: number;
  received: string;
  sent?: string | null;
  device: string;
  address?: string;
  host?: string;
  facility?: number;
  severity: number;
  program?: string;
  process?: string;
  kind?: string;
  text: string;
  template?: string | null;
  fields?: unknown;
};

/** What a kind of lines is just now. */
export type Sort = 'new' | 'unusual' | 'vanished';

/** A kind of lines. */
export type LogKind = {
  template: string;
  program: string;
  text: string;
  is: Sort[];
  devices: string[];
  from: number;
  first: number | string;
  last: number | string;
  lines: number;
  parts: number[];
  example?: string;
  commit?: string;
};

/** Somebody who sends lines and is no device, or sends too many. */
export type Sender = {
  address: string;
  device?: string | null;
  hosts: string[];
  lines: number;
  refused: number;
  first?: string | null;
  last?: string | null;
};

/** How it stands with a journal that is read. */
export type Journal = { readAt?: string | null; lines: number; gaps: number; problem?: string | null };

/** Severities by number (RFC 5424, section 6.2.1). */
export const SEVERITIES = ['emergency', 'alert', 'critical', 'error', 'warning', 'notice', 'info', 'debug'] as const;

/** A severity's name. */
export type Severity = (typeof SEVERITIES)[number];

/** The name of a severity; what is out of bounds is the least grave. */
export function severityOf(number: number): Severity {
  return SEVERITIES[number] ?? 'debug';
}

/** How grave, as the histogram has it. */
export function graveness(severity: number): 'error' | 'warning' | 'other' {
  if (severity <= 3) return 'error';
  return severity === 4 ? 'warning' : 'other';
}

/** Facilities by number (RFC 5424, section 6.2.1), as syslog.conf(5) names them. */
const FACILITIES = 'kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock local0 local1 local2 local3 local4 local5 local6 local7'.split(' ');

/** The name of a facility. */
export function facilityOf(number: number | undefined): string {
  return number === undefined ? '' : (FACILITIES[number] ?? String(number));
}

/** Seconds since 1970 or RFC 3339, as milliseconds. */
export function instantOf(at: number | string | null | undefined): number | undefined {
  if (at === null || at === undefined || at === '') return undefined;
  const found = typeof at === 'number' ? at * 1000 : Date.parse(at);
  return Number.isNaN(found) ? undefined : found;
}
