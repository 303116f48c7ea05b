/** One alert in the list. */
import { AudioMutedOutlined, CheckOutlined, HistoryOutlined, UserOutlined } from '@ant-design/icons';
import { Link } from 'react-router';
import { Act, Name, Severity, Time, useNow } from '@/components';
import { useLanguage, useText } from '@/i18n/language';
import { parseName, shownName } from '@/lib/name';
import { ago } from '@/lib/time';
import { visibleText } from '../text/visible';
import { sinceOf } from './grouping';
import { SilenceAct } from './silence-act';
import { Suppressions } from './suppression';
import texts from './text';
import type { Alert } from './types';

export interface RowActs {
  onAcknowledge: (alert: Alert) => void;
  onSilence: (alert: Alert) => void;
}

export function AlertRow({ alert, onAcknowledge, onSilence }: { alert: Alert } & RowActs) {
  const t = useText(texts);
  const { language } = useLanguage();
  const now = useNow();
  const isOver = alert.state === 'resolved' || alert.state === 'inactive';
  return (
    <article className={`alert alert-${alert.severity} alert-${alert.state}`}>
      <div className="alert-severity">
        <Severity value={alert.severity} bare />
      </div>
      <div className="alert-words">
        <Link to={`/alerts/${encodeURIComponent(alert.id)}`} className="alert-summary">
          {visibleText(alert.summary) || alert.rule}
        </Link>
        <div className="alert-facts">
          <Name kind="Device" of={alert.device} />
          <Name kind="AlertRule" of={alert.rule} />
          <span className="ek-dim">
            {isOver ? <>{t('resolved')} <Time at={alert.resolvedAt} relative /></> : <Time at={sinceOf(alert)} relative />}
          </span>
          {alert.behind > 0 && <strong>{t('behind', { n: alert.behind })}</strong>}
          {alert.lastChange && (
            <span className="alert-change">
              <HistoryOutlined aria-hidden /> {t('changed', { ago: ago(alert.lastChange.at, now, language), deployment: visibleText(shownName(parseName(alert.lastChange.deployment))) })}
            </span>
          )}
        </div>
        {alert.acknowledged && (
          <div className="alert-seen">
            <UserOutlined aria-hidden /> {t('seenBy', { by: visibleText(alert.acknowledged.by) })} {t('seenUntil')} <Time at={alert.acknowledged.until} />
            {alert.acknowledged.comment && <span className="ek-dim">: {visibleText(alert.acknowledged.comment)}</span>}
          </div>
        )}
        {alert.suppressed.length > 0 && <Suppressions of={alert.suppressed} />}
      </div>
      {!isOver && (
        <div className="alert-acts">
          {!alert.acknowledged && (
            <Act size="small" verb="acknowledge" kind="Device" icon={<CheckOutlined />} onAct={() => onAcknowledge(alert)}>
              {t('acknowledge')}
            </Act>
          )}
          <SilenceAct size="small" icon={<AudioMutedOutlined />} onAct={() => onSilence(alert)}>
            {t('silence')}
          </SilenceAct>
        </div>
      )}
    </article>
  );
}
