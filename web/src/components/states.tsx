/** States: each with a sign of its own and a word, so that colour is never the only signal. */
import {
  BellOutlined, CheckCircleFilled, CheckOutlined, ClockCircleOutlined, CloseCircleFilled, ExclamationCircleFilled, EyeOutlined, HourglassOutlined,
  InfoCircleFilled, LoadingOutlined, MinusCircleOutlined, PauseCircleFilled, QuestionCircleOutlined, RollbackOutlined, StopOutlined,
  SyncOutlined, UserSwitchOutlined, WarningFilled, DisconnectOutlined,
} from '@ant-design/icons';
import type { ReactNode } from 'react';
import { useText } from '@/i18n/language';
import texts from './text';

type Tone = 'good' | 'busy' | 'warn' | 'bad' | 'calm';
type Look = readonly [tone: Tone, sign: ReactNode];

/** A sign and a word in a tone. For states that are not among those below. */
export function Sign({ tone, sign, children, bare = false }: { tone: Tone; sign: ReactNode; children: ReactNode; bare?: boolean }) {
  return (
    <span className={`ek-sign ek-${tone}${bare ? ' ek-bare' : ''}`}>
      <span aria-hidden="true" className="ek-sign-icon">{sign}</span>
      {children}
    </span>
  );
}

function among(looks: Readonly<Record<string, Look>>) {
  return function State({ value, bare }: { value: string | null | undefined; bare?: boolean }) {
    const t = useText(texts);
    const known = value || 'Unknown';
    const [tone, sign] = looks[known] ?? (['calm', <QuestionCircleOutlined key="?" />] as const);
    return <Sign tone={tone} sign={sign} {...(bare && { bare })}>{known in texts ? t(known as keyof typeof texts) : known}</Sign>;
  };
}

export const Health = among({
  Healthy: ['good', <CheckCircleFilled key="i" />],
  Degraded: ['warn', <WarningFilled key="i" />],
  Unreachable: ['bad', <DisconnectOutlined key="i" />],
  Unknown: ['calm', <QuestionCircleOutlined key="i" />],
});

export const UpdateState = among({
  UpToDate: ['good', <CheckOutlined key="i" />],
  Updating: ['busy', <SyncOutlined key="i" />],
  OutOfDate: ['warn', <ClockCircleOutlined key="i" />],
  Blocked: ['bad', <StopOutlined key="i" />],
  Unknown: ['calm', <QuestionCircleOutlined key="i" />],
});

export const Phase = among({
  Pending: ['calm', <ClockCircleOutlined key="i" />],
  Progressing: ['busy', <SyncOutlined key="i" />],
  Soaking: ['busy', <EyeOutlined key="i" />],
  AwaitingApproval: ['warn', <UserSwitchOutlined key="i" />],
  Paused: ['warn', <PauseCircleFilled key="i" />],
  RollingBack: ['bad', <RollbackOutlined key="i" />],
  RolledBack: ['bad', <RollbackOutlined key="i" />],
  Complete: ['good', <CheckCircleFilled key="i" />],
  Failed: ['bad', <CloseCircleFilled key="i" />],
});

export const Severity = among({
  critical: ['bad', <ExclamationCircleFilled key="i" />],
  warning: ['warn', <WarningFilled key="i" />],
  info: ['busy', <InfoCircleFilled key="i" />],
});

export const AlertState = among({
  firing: ['bad', <BellOutlined key="i" />],
  pending: ['warn', <HourglassOutlined key="i" />],
  resolved: ['good', <CheckCircleFilled key="i" />],
  inactive: ['calm', <MinusCircleOutlined key="i" />],
});

export const ProbeState = among({
  ok: ['good', <CheckCircleFilled key="i" />],
  fail: ['bad', <CloseCircleFilled key="i" />],
  unknown: ['calm', <QuestionCircleOutlined key="i" />],
});

/** Something is under way. */
export function Busy({ children }: { children: ReactNode }) {
  return <Sign tone="busy" sign={<LoadingOutlined />}>{children}</Sign>;
}
