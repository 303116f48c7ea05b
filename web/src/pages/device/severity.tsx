import { BugOutlined, CloseCircleFilled, InfoCircleOutlined, WarningFilled } from '@ant-design/icons';
import type { ReactNode } from 'react';

export function toneOf(severity: number): [tone: 'bad' | 'warn' | 'calm', sign: ReactNode] {
  if (severity <= 3) return ['bad', <CloseCircleFilled key="i" />];
  if (severity === 4) return ['warn', <WarningFilled key="i" />];
  return ['calm', severity >= 7 ? <BugOutlined key="i" /> : <InfoCircleOutlined key="i" />];
}
