import { BellOutlined, BranchesOutlined, DeploymentUnitOutlined } from '@ant-design/icons';
import { Popover } from 'antd';
import { Link } from 'react-router';
import type { Change } from '@/api/types';
import { useText } from '@/i18n/language';
import { parseName, pathOf } from '@/lib/name';
import { together } from './together';
import texts from './text';
import { Time } from './Time';

const SIGNS = { rollout: <DeploymentUnitOutlined />, commit: <BranchesOutlined />, alert: <BellOutlined /> };

/** What was changed, on the time axis of a chart. Those that would cover each other are one mark. */
export function Marks({ of, from, to, places }: { of: readonly Change[]; from: number; to: number; places: number }) {
  const t = useText(texts);
  const groups = together(of, from, to, places);
  if (groups.length === 0) return null;
  return (
    <div className="ek-marks" role="group" aria-label={t('marks')}>
      {groups.map(({ at, share, changes }) => (
        <Popover key={at} trigger={['click', 'hover']} content={<Said changes={changes} />}>
          <button type="button" className={`ek-mark-${changes[0]?.kind ?? 'commit'}`} style={{ left: `${share * 100}%` }} aria-label={`${changes.length > 1 ? `${changes.length} · ` : ''}${changes.map(({ title }) => title).join('; ')}`}>
            {SIGNS[changes[0]?.kind ?? 'commit'] ?? SIGNS.commit}
            {changes.length > 1 && <small aria-hidden="true">{changes.length}</small>}
          </button>
        </Popover>
      ))}
    </div>
  );
}

function Said({ changes }: { changes: readonly Change[] }) {
  return (
    <ul className="ek-marks-said">
      {changes.slice(0, 8).map((change, index) => (
        <li key={index}>
          <span aria-hidden="true">{SIGNS[change.kind]}</span>
          <span>
            {change.deployment ? <Link to={`/deployments/${pathOf(parseName(change.deployment))}`}>{change.title}</Link> : change.title}
            <br />
            <span className="ek-dim"><Time at={change.at} />{[change.author, change.result].filter(Boolean).map((word) => ` · ${word}`).join('')}</span>
          </span>
        </li>
      ))}
    </ul>
  );
}
