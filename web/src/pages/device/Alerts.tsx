import { Link } from 'react-router';
import { useGet } from '@/api/query';
import type { List } from '@/api/types';
import { AlertState, Part, Problem, Severity, Time } from '@/components';
import { useText } from '@/i18n/language';
import { fullName, type Named } from '@/lib/name';
import { Suppressions } from '../alerts/suppression';
import type { Alert } from '../alerts/types';
import '../alerts/alerts.css';
import texts from './text';

/** What fires or is about to; nothing where there is nothing. */
export function Alerts({ named }: { named: Named }) {
  const t = useText(texts);
  const alerts = useGet<List<Alert>>('/alerts', { device: fullName(named), state: ['firing', 'pending'] });
  if (alerts.error && alerts.error.status !== 403) return <Problem error={alerts.error} />;
  if (!alerts.data || alerts.data.items.length === 0) return null;
  return (
    <Part title={t('alerts')} flush>
      <ol className="ek-rows">
        {alerts.data.items.map((alert) => (
          <li key={alert.id}>
            <span className="ek-row-sign"><Severity value={alert.severity} /></span>
            <div className="ek-row-main">
              <Link className="ek-name" to={`/alerts/${encodeURIComponent(alert.id)}`}>{alert.summary}</Link>
              <span className="ek-row-more"><AlertState value={alert.state} bare /></span>
              {alert.suppressed.length > 0 && <Suppressions of={alert.suppressed} />}
            </div>
            <Time at={alert.firedAt ?? alert.activeAt} relative />
          </li>
        ))}
      </ol>
    </Part>
  );
}
