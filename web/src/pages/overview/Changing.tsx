import { Link } from 'react-router';
import type { Overview } from '@/api/types';
import { Name, Nothing, Phase, Time } from '@/components';
import { useText } from '@/i18n/language';
import texts from './text';

/** A time within the engine's words, which has it in UTC. */
const TIME = /\b(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)/;

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
            {rollout.waits && <span className="ek-row-more"><Waits text={rollout.waits} /></span>}
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

/** The engine's words with their times as all others: in the reader's zone, and in UTC on hover. */
export function Waits({ text }: { text: string }) {
  // What stands between two times is at the even places.
  return <span>{text.split(TIME).map((part, at) => (at % 2 === 0 ? part : <Time key={at} at={part} />))}</span>;
}
