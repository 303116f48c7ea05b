/** What became of a revision. */
import { CheckCircleFilled, PauseCircleFilled, RollbackOutlined, StopOutlined, SwapOutlined, SyncOutlined } from '@ant-design/icons';
import { Sign } from '@/components';
import { useText } from '@/i18n/language';
import { wordOf } from './lanes';
import texts from './text';
import type { Tagged } from './types';

const LOOK = {
  progressing: ['busy', <SyncOutlined key="i" />],
  complete: ['good', <CheckCircleFilled key="i" />],
  rollingBack: ['bad', <RollbackOutlined key="i" />],
  rolledBack: ['bad', <RollbackOutlined key="i" />],
  stopped: ['bad', <StopOutlined key="i" />],
  superseded: ['calm', <SwapOutlined key="i" />],
} as const;

export function Result({ of }: { of: Tagged | undefined }) {
  const t = useText(texts);
  const given = wordOf(of);
  const word = given.charAt(0).toLowerCase() + given.slice(1);
  if (!Object.hasOwn(LOOK, word)) return given ? <Sign tone="calm" sign={<PauseCircleFilled />} bare>{given}</Sign> : <span className="ek-dim">–</span>;
  const key = word as keyof typeof LOOK;
  const [tone, sign] = LOOK[key];
  return <Sign tone={tone} sign={sign} bare>{t(key)}</Sign>;
}
