import { UserOutlined } from '@ant-design/icons';
import { Link } from 'react-router';
import type { Overview } from '@/api/types';
import { Name, Nothing, Severity, Sign, Time } from '@/components';
import { useText } from '@/i18n/language';
import texts from './text';

/** The alerts that matter most, and how many are suppressed. */
export function Wrong({ of }: { of: Overview['wrong'] }) {
  const t = useText(texts);
  const quiet = of.suppressed > 0 && <p className="ek-rows-more"><Link to="/alerts?show=suppressed">{t('quiet', { n: of.suppressed })}</Link></p>;
  if (of.top.length === 0) {
    const unwell = (of.devices.Degraded ?? 0) + (of.devices.Unreachable ?? 0) + (of.devices.Unknown ?? 0);
    if (unwell === 0) return <><Nothing title={t('allWell')} hint={t('allWellHint')} />{quiet}</>;
    return <><Nothing title={t('notWell', { n: unwell })} hint={t('notWellHint')} action={<Link to="/devices?health=Unreachable,Degraded,Unknown">{t('toDevices')}</Link>} />{quiet}</>;
  }
  const firing = Object.values(of.alerts).reduce((sum, count) => sum + count, 0);
  return (
    <>
      <ol className="ek-rows">
        {of.top.map((alert) => (
          <li key={alert.id} className={`ek-alert-${alert.severity}`}>
            <span className="ek-row-sign"><Severity value={alert.severity} /></span>
            <span className="ek-row-main">
              <Link to={`/alerts/${encodeURIComponent(alert.id)}`} className="ek-name">{alert.summary}</Link>
              <span className="ek-row-more">
                <Name kind="Device" of={alert.device} />
                <Name kind="AlertRule" of={alert.rule} />
                {alert.behind > 0 && <span>{t('behind', { n: alert.behind })}</span>}
                {alert.acknowledged && <Sign tone="calm" sign={<UserOutlined />} bare>{t('acknowledgedBy', { by: alert.acknowledged.by })}</Sign>}
              </span>
            </span>
            <Time at={alert.firedAt ?? alert.activeAt} relative />
          </li>
        ))}
      </ol>
      {firing > of.top.length && <p className="ek-rows-more"><Link to="/alerts">{t('more', { n: firing - of.top.length })}</Link></p>}
      {quiet}
    </>
  );
}
