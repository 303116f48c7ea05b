import { Link } from 'react-router';
import type { Overview } from '@/api/types';
import { Name, Nothing, Phase } from '@/components';
import { useText } from '@/i18n/language';
import { WaitWords } from '../deployments/wait-words';
import texts from './text';

/** Rollouts under way, how far they are and what they wait for. */
export function Changing({ of }: { of: Overview['changing'] }) {
  const t = useText(texts);
  if (of.rollouts.length === 0) return <Nothing title={t('nothingChanges')} hint={t('nothingChangesHint')} />;
  return (
    <>
    <ol className="ek-rows">
      {of.rollouts.map((rollout) => (
        <li key={rollout.deployment}>
          <span className="ek-row-main">
            <span className="ek-row-line"><Name kind="Deployment" of={rollout.deployment} /><Phase value={rollout.phase} /></span>
            {rollout.waits && <span className="ek-row-more"><WaitWords text={rollout.waits} /></span>}
          </span>
          <span className="ek-progress">
            <span className="ek-num">{t('ofTotal', { updated: rollout.updated, total: rollout.total })}</span>
            <span className="ek-bar" aria-hidden="true">
              <i className="ek-bar-accent" style={{ flexGrow: rollout.updated }} />
              <i style={{ flexGrow: Math.max(0, rollout.total - rollout.updated) }} />
            </span>
          </span>
        </li>
      ))}
    </ol>
    {(of.more ?? 0) > 0 && <p className="ek-rows-more"><Link to="/deployments">{t('more', { n: of.more ?? 0 })}</Link></p>}
    </>
  );
}
