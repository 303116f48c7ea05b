import { Alert as Notice, Button } from 'antd';
import { Link } from 'react-router';
import { useGet } from '@/api/query';
import type { Overview as Data } from '@/api/types';
import { Fetched, Nothing, Page, Part, Time } from '@/components';
import { useText } from '@/i18n/language';
import type { Entry } from '../audit/entry';
import { Sentence } from '../audit/Sentence';
import { Changing } from './Changing';
import { Counts } from './Counts';
import './overview.css';
import { SourceCard } from './SourceCard';
import texts from './text';
import { Wrong } from './Wrong';

/** What is wrong now, what is changing now, what changed last. */
export default function Overview() {
  const t = useText(texts);
  const overview = useGet<Data>('/overview');
  return (
    <Page title={t('title')}>
      <Fetched of={overview} lines={12}>{(data) => <Shown data={data} />}</Fetched>
    </Page>
  );
}

function Shown({ data }: { data: Data }) {
  const t = useText(texts);
  const devices = Object.values(data.wrong.devices).reduce((sum, count) => sum + count, 0);
  return (
    <>
      <Notices data={data} />
      <Counts data={data} />
      {devices === 0 && (
        <Part><Nothing title={t('noDevices')} hint={t('noDevicesHint')} action={<Link to="/source"><Button type="primary">{t('toSource')}</Button></Link>} /></Part>
      )}
      <div className="ek-overview">
        <div className="ek-column">
          <Part title={t('wrong')} extra={<Link to="/alerts">{t('allAlerts')}</Link>} flush><Wrong of={data.wrong} /></Part>
          <Part title={t('changing')} extra={<Link to="/deployments">{t('allDeployments')}</Link>} flush><Changing of={data.changing} /></Part>
        </div>
        <div className="ek-column">
          <SourceCard of={data.source} />
          <Part title={t('last')} extra={<Link to="/audit">{t('audit')}</Link>} flush><Last of={data.last} /></Part>
        </div>
      </div>
    </>
  );
}

function Notices({ data }: { data: Data }) {
  const t = useText(texts);
  const { ownNetworkDown, notReady } = data.wrong;
  const undelivered = Array.isArray(data.wrong.undelivered) ? data.wrong.undelivered.reduce((sum, { count }) => sum + count, 0) : data.wrong.undelivered;
  return (
    <>
      {notReady && <Notice type="error" showIcon title={<><strong>{t('notReady')}.</strong> {notReady}</>} />}
      {ownNetworkDown && <Notice type="error" showIcon title={<><strong>{t('ownNetwork')}.</strong> {t('ownNetworkHint')}</>} />}
      {undelivered > 0 && (
        <Notice type="warning" showIcon title={<><strong>{t('undelivered', { n: undelivered })}.</strong> {t('undeliveredHint')}</>} action={<Link to="/receivers"><Button size="small">{t('toReceivers')}</Button></Link>} />
      )}
    </>
  );
}

/** As the audit log has it: who acts by itself is the engine. */
function entryOf({ at, actor, what, target = '', outcome = '' }: Data['last'][number], index: number): Entry {
  return { index, at, actor: { kind: actor === 'evenkeel' ? 'engine' : 'user', name: actor }, verb: what, target, outcome };
}

function Last({ of }: { of: Data['last'] }) {
  const t = useText(texts);
  if (of.length === 0) return <Nothing title={t('nothingYet')} />;
  return (
    <ol className="ek-rows">
      {of.map((entry, index) => (
        <li key={index}>
          <span className="ek-row-main">
            <span className="ek-last-what"><Sentence entry={entryOf(entry, index)} /></span>
          </span>
          <Time at={entry.at} relative />
        </li>
      ))}
    </ol>
  );
}
