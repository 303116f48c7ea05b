/** What the rollout waits for, since when, and who can clear it. */
import {
  AlertOutlined, ApartmentOutlined, ClockCircleOutlined, DisconnectOutlined, EyeOutlined, HeartOutlined, LockOutlined, PauseCircleOutlined, QuestionCircleOutlined,
  RollbackOutlined, TeamOutlined, ToolOutlined, UserSwitchOutlined,
} from '@ant-design/icons';
import type { ReactNode } from 'react';
import { Target, Time } from '@/components';
import { useLanguage, useText } from '@/i18n/language';
import { groupWaits, type WaitGroup, waitField } from '../deployments/lanes';
import { splitWait } from '../deployments/list';
import listTexts from '../deployments/text';
import type { Wait } from '../deployments/types';
import { visibleText } from '../text/visible';
import texts from './text';
import { clearedBy, wanted } from './words';
import './waits.css';

const SIGN: Record<string, ReactNode> = {
  Unreachable: <DisconnectOutlined />,
  Budget: <TeamOutlined />,
  Window: <ClockCircleOutlined />,
  Approval: <UserSwitchOutlined />,
  Soak: <EyeOutlined />,
  Health: <HeartOutlined />,
  Alert: <AlertOutlined />,
  Dependency: <ApartmentOutlined />,
  Lock: <LockOutlined />,
  Maintenance: <ToolOutlined />,
  NoWayBack: <RollbackOutlined />,
  Suspended: <PauseCircleOutlined />,
};

/** Targets of one wait that are named. */
const NAMED = 8;

export function Waits({ waits, approve }: { waits: Wait[]; approve: ReactNode }) {
  const t = useText(texts);
  const groups = groupWaits(waits);
  if (groups.length === 0) return <p className="ek-dim waits-none">{t('waitsNothing')}</p>;
  return (
    <ul className="waits">
      {groups.map((group) => (
        <WaitRow key={`${group.wait.wants}\n${group.wait.text}`} group={group} approve={approve} />
      ))}
    </ul>
  );
}

/** What there is to say beside its kind and its times, which are shown in the reader's own words and zone. */
function detailOf(wait: Wait, kind: string): string {
  if (['Approval', 'Soak', 'Window'].includes(kind)) return '';
  if (kind === 'Unreachable') return waitField(wait, 'reason') ?? splitWait(wait.text).rest;
  return splitWait(wait.text).rest;
}

function WaitRow({ group, approve }: { group: WaitGroup; approve: ReactNode }) {
  const t = useText(texts);
  const known = useText(listTexts);
  const { language } = useLanguage();
  const { wait, kind, targets } = group;
  const want = wanted(wait.wants, t);
  const until = waitField(wait, 'until') ?? waitField(wait, 'opens');
  const said = detailOf(wait, kind);
  const since = kind === 'Unreachable' ? (waitField(wait, 'since') ?? group.since) : group.since;
  return (
    <li className={`wait ${kind === 'Approval' ? 'wait-person' : ''}`}>
      <span className="wait-sign" aria-hidden>{SIGN[kind] ?? <QuestionCircleOutlined />}</span>
      <div className="wait-words">
        <div>
          <strong>{kind in listTexts ? known(kind as keyof typeof listTexts) : kind}</strong>
          {since && <span className="ek-dim"> · {t('since')} <Time at={since} relative /></span>}
          {until && <span className="ek-dim"> · {t('until')} <Time at={until} /></span>}
        </div>
        <div className="wait-want">
          {want.said}
          {want.names && <span className="ek-dim">: {visibleText(want.names)}</span>}
        </div>
        {said && <div className="ek-dim">{visibleText(said)}</div>}
        {!(targets.length === 1 && targets[0]?.startsWith('deployment/')) && (
          <div className="wait-targets">
            {targets.slice(0, NAMED).map((target) => (
              <Target key={target} of={target} />
            ))}
            {targets.length > NAMED && <span className="ek-dim">{t('nMore', { n: targets.length - NAMED })}</span>}
          </div>
        )}
        <div className="ek-dim">
          {t('clearedBy')}: {clearedBy(wait, language, t)}
        </div>
        {kind === 'Approval' && <div className="wait-act">{approve}</div>}
      </div>
    </li>
  );
}
