import { BugOutlined, CloseCircleFilled, InfoCircleOutlined, WarningFilled } from '@ant-design/icons';
import type { ReactNode } from 'react';

/** RFC 5424, table 2: as syslog writes them, in any language. */
const WORDS = ['emerg', 'alert', 'crit', 'error', 'warning', 'notice', 'info', 'debug'];

export function wordOf(severity: number): string {
  return WORDS[severity] ?? String(severity);
}

export function toneOf(severity: number): [tone: 'bad' | 'warn' | 'calm', sign: ReactNode] {
  if (severity <= 3) return ['bad', <CloseCircleFilled key="i" />];
  if (severity === 4) return ['warn', <WarningFilled key="i" />];
  return ['calm', severity >= 7 ? <BugOutlined key="i" /> : <InfoCircleOutlined key="i" />];
}
