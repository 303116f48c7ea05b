import { Link } from 'react-router';
import type { HealthState, Overview, SeverityName } from '@/api/types';
import { Health, Severity } from '@/components';
import { useText } from '@/i18n/language';
import { count } from '@/lib/units';
import texts from './text';

const SEVERITIES: readonly SeverityName[] = ['critical', 'warning', 'info'];
const HEALTH: readonly [HealthState, string][] = [['Healthy', 'good'], ['Degraded', 'warn'], ['Unreachable', 'bad'], ['Unknown', 'calm']];

/** How many alerts fire, and how the devices are. */
export function Counts({ data }: { data: Overview }) {
  const t = useText(texts);
  const { alerts, devices } = data.wrong;
  const total = HEALTH.reduce((sum, [state]) => sum + (devices[state] ?? 0), 0);
  return (
    <div className="ek-counts">
      <section className="ek-part ek-count-card" aria-label={t('alerts')}>
        <h2>{t('alerts')}</h2>
        <div className="ek-count-row">
          {SEVERITIES.map((severity) => (
            <Link key={severity} to={`/alerts?severity=${severity}`} className={`ek-count${alerts[severity] ? '' : ' ek-count-none'}`}>
              <b className="ek-num">{count(alerts[severity] ?? 0)}</b>
              <Severity value={severity} bare />
            </Link>
          ))}
        </div>
      </section>
      <section className="ek-part ek-count-card" aria-label={t('devices')}>
        <h2>{t('devices')} <span className="ek-dim">{t('total', { n: total })}</span></h2>
        <div className="ek-count-row">
          {HEALTH.map(([state]) => (
            <Link key={state} to={`/devices?health=${state}`} className={`ek-count${devices[state] ? '' : ' ek-count-none'}`}>
              <b className="ek-num">{count(devices[state] ?? 0)}</b>
              <Health value={state} bare />
            </Link>
          ))}
        </div>
        <div className="ek-bar" aria-hidden="true">
          {HEALTH.map(([state, tone]) => (devices[state] ? <i key={state} className={`ek-bar-${tone}`} style={{ flexGrow: devices[state] }} /> : null))}
        </div>
      </section>
    </div>
  );
}
