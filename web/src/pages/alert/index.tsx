import { AudioMutedOutlined, CheckOutlined } from '@ant-design/icons';
import { Skeleton } from 'antd';
import { lazy, type ReactNode, Suspense, useState } from 'react';
import { useParams } from 'react-router';
import { useDeed, useGet } from '@/api/query';
import { Act, AlertState, Fetched, Labels, Name, Page, Part, Severity, Time, useNow } from '@/components';
import { useLanguage, useText } from '@/i18n/language';
import { parseName } from '@/lib/name';
import { span } from '@/lib/time';
import { count } from '@/lib/units';
import { Acknowledge } from '../alerts/acknowledge';
import { SilenceAct } from '../alerts/silence-act';
import { Suppressions } from '../alerts/suppression';
import type { AlertDetail } from '../alerts/types';
import { fromAlert, type SilenceDraft } from '../silences/draft';
import { SilenceDrawer } from '../silences/drawer';
import { visibleText } from '../text/visible';
import { Life } from './life';
import texts from './text';
import { timelineOf } from './timeline';
import '../alerts/alerts.css';
import './alert.css';

const Values = lazy(() => import('./values').then(({ Values }) => ({ default: Values })));

export default function AlertPage() {
  const t = useText(texts);
  const { id = '' } = useParams();
  const read = useGet<AlertDetail>(`/alerts/${encodeURIComponent(id)}`);
  const alert = read.data;
  return (
    <Page
      title={alert ? visibleText(alert.summary) || `${t('alert')} ${alert.id}` : t('alert')}
      crumbs={[{ title: t('alerts'), to: '/alerts' }]}
      here={id}
      beside={
        alert && (
          <>
            <Severity value={alert.severity} /> <AlertState value={alert.state} />
          </>
        )
      }
      actions={alert && <Acts alert={alert} />}
    >
      <Fetched of={read} lines={8}>
        {(found) => <Parts alert={found} />}
      </Fetched>
    </Page>
  );
}

function Parts({ alert }: { alert: AlertDetail }) {
  const t = useText(texts);
  return (
    <div className="alert-page">
      <Part>
        <Facts alert={alert} />
      </Part>
      <Part title={t('chart')}>
        <Suspense fallback={<Skeleton active title={false} />}>
          <Values alert={alert} />
        </Suspense>
      </Part>
      <Part title={t('life')}>
        <Life happened={timelineOf(alert)} />
      </Part>
      {alert.lines && alert.lines.length > 0 && (
        <Part title={t('lines')} flush>
          <pre className="alert-lines">{alert.lines.map((line) => visibleText(line)).join('\n')}</pre>
        </Part>
      )}
      {alert.text && (
        <Part title={t('explain')} flush>
          <pre className="alert-lines">{visibleText(alert.text, true)}</pre>
        </Part>
      )}
    </div>
  );
}

function Fact({ name, wide = false, children }: { name: string; wide?: boolean; children: ReactNode }) {
  return (
    <div className={wide ? 'alert-fact-wide' : undefined}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Six digits say enough of a fraction; of a large number none is left out. */
function valueShown(value: number): string {
  return Math.abs(value) < 100_000 ? String(Number(value.toPrecision(6))) : count(Math.round(value));
}

function Facts({ alert }: { alert: AlertDetail }) {
  const t = useText(texts);
  const { language } = useLanguage();
  const now = useNow();
  const begin = alert.firedAt ?? alert.activeAt;
  const end = alert.resolvedAt ? Date.parse(alert.resolvedAt) : now;
  return (
    <dl className="alert-fact-list">
      <Fact name={t('device')}>
        <Name kind="Device" of={alert.device} />
      </Fact>
      <Fact name={t('rule')}>
        <Name kind="AlertRule" of={alert.rule} />
      </Fact>
      <Fact name={t('since')}>
        <Time at={begin} />
      </Fact>
      <Fact name={t('lasted')}>
        <span className="ek-num">{span((end - Date.parse(begin)) / 1000, language)}</span>
      </Fact>
      {alert.value !== null && alert.value !== undefined && (
        <Fact name={t('value')}>
          <span className="ek-num">{valueShown(alert.value)}</span>
        </Fact>
      )}
      {alert.root && alert.root !== alert.device && (
        <Fact name={t('root')}>
          <Name kind="Device" of={alert.root} /> <span className="ek-dim">{t('rootIs', { device: visibleText(parseName(alert.root).name) })}</span>
        </Fact>
      )}
      {alert.behind > 0 && <Fact name={t('behind')}>{t('behindN', { n: alert.behind })}</Fact>}
      <Fact name={t('lastChange')}>
        {alert.lastChange ? (
          <>
            <Name kind="Deployment" of={alert.lastChange.deployment} /> {t('revision', { revision: visibleText(alert.lastChange.revision) })} · <Time at={alert.lastChange.at} relative />
          </>
        ) : (
          <span className="ek-dim">{t('noChange')}</span>
        )}
      </Fact>
      {alert.labels && (
        <Fact name={t('labels')}>
          <Labels of={alert.labels} />
        </Fact>
      )}
      {alert.suppressed.length > 0 && (
        <Fact name={t('quiet')} wide>
          <Suppressions of={alert.suppressed} />
        </Fact>
      )}
    </dl>
  );
}

function Acts({ alert }: { alert: AlertDetail }) {
  const t = useText(texts);
  const [seen, setSeen] = useState(false);
  const [draft, setDraft] = useState<SilenceDraft>();
  const path = `/alerts/${encodeURIComponent(alert.id)}`;
  const takeBack = useDeed({ renews: ['/alerts', path] });
  const { namespace, name } = parseName(alert.device);
  const who = { kind: 'Device', namespace, name } as const;
  if (alert.state === 'resolved' || alert.state === 'inactive') return null;
  return (
    <>
      {alert.acknowledged ? (
        <Act {...who} verb="acknowledge" loading={takeBack.isPending} onAct={() => takeBack.mutate({ method: 'DELETE', path: `${path}/acknowledge` })}>
          {t('unacknowledge')}
        </Act>
      ) : (
        <Act {...who} verb="acknowledge" type="primary" icon={<CheckOutlined />} onAct={() => setSeen(true)}>
          {t('acknowledge')}
        </Act>
      )}
      <SilenceAct icon={<AudioMutedOutlined />} onAct={() => setDraft(fromAlert(alert))}>
        {t('silence')}
      </SilenceAct>
      <Acknowledge alerts={seen ? [alert] : undefined} onClose={() => setSeen(false)} />
      <SilenceDrawer draft={draft} onClose={() => setDraft(undefined)} />
    </>
  );
}
