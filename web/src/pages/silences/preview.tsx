/** Which of the alerts that fire now a Silence would mute. */
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Alert as Note, Skeleton } from 'antd';
import { call, type Refused } from '@/api/http';
import { Name, Problem, Severity } from '@/components';
import { useText } from '@/i18n/language';
import { usePaused } from '@/lib/pause';
import type { Alert } from '../alerts/types';
import { visibleText } from '../text/visible';
import type { SilenceSpec } from './draft';
import texts from './text';

interface Answer {
  alerts: Alert[];
  devices: number;
}

/** Alerts that are named. */
const NAMED = 10;

export function Preview({ spec, namespace }: { spec: SilenceSpec; namespace: string }) {
  const t = useText(texts);
  // The end is left out of the key: it moves on with the clock, and mutes nothing else.
  const asked = usePaused(JSON.stringify({ matchLabels: spec.matchLabels, devices: spec.devices, namespace }), 400);
  const read = useQuery<Answer, Refused>({
    queryKey: ['/silences/preview', asked],
    queryFn: ({ signal }) => call<Answer>('POST', '/silences/preview', { body: { ...(JSON.parse(asked) as object), until: spec.until }, signal }),
    placeholderData: keepPreviousData,
    retry: false,
  });
  return (
    <section className="silence-preview" aria-live="polite" aria-label={t('preview')}>
      <h4>{t('preview')}</h4>
      {read.isPending && <Skeleton active title={false} paragraph={{ rows: 2 }} />}
      {read.error && <Problem error={read.error} />}
      {read.data && !read.error && (
        <div className={read.isPlaceholderData ? 'silence-stale' : ''}>
          <p>
            <strong>{t('previewAlerts', { n: read.data.alerts.length })}</strong> · {t('previewDevices', { n: read.data.devices })}
          </p>
          {read.data.alerts.length === 0 && <p className="ek-dim">{t('previewNone')}</p>}
          <ul className="silence-alerts">
            {read.data.alerts.slice(0, NAMED).map((alert) => (
              <li key={alert.id}>
                {alert.severity && <Severity value={alert.severity} bare />} <Name kind="Device" of={alert.device} /> <span>{visibleText(alert.summary)}</span>
              </li>
            ))}
          </ul>
          {read.data.alerts.length > NAMED && <p className="ek-dim">{t('nMore', { n: read.data.alerts.length - NAMED })}</p>}
        </div>
      )}
      {!spec.matchLabels && spec.devices && Object.keys(spec.devices).length === 0 && <Note type="warning" showIcon title={t('previewAll')} />}
    </section>
  );
}
