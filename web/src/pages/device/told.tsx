import { Table } from 'antd';
import { Link } from 'react-router';
import { useGet } from '@/api/query';
import type { List, LogLine } from '@/api/types';
import { Fetched, Nothing, Part, Sign, Time } from '@/components';
import { useText } from '@/i18n/language';
import { fullName, type Named, pathOf, shownName } from '@/lib/name';
import type { Entry } from '../audit/entry';
import { Outcome } from '../audit/Outcome';
import { Sentence } from '../audit/Sentence';
import { Said } from '../text/Said';
import { severityOf } from '../logs/model';
import logWords from '../logs/text';
import { toneOf } from './severity';
import texts from './text';

/** Lines and entries that are shown here; the pages of logs and of audit have all. */
const MOST = 100;
/** Milliseconds between questions for new lines of log. */
const OFTEN = 10_000;

export function Logs({ named }: { named: Named }) {
  const t = useText(texts);
  const w = useText(logWords);
  const device = fullName(named);
  const logs = useGet<List<LogLine>>('/logs', { device, limit: MOST }, { refetchInterval: OFTEN });
  return (
    <Part title={t('logs')} extra={<Link to={`/logs?device=${encodeURIComponent(device)}`}>{t('allLogs')}</Link>} flush>
      <Fetched of={logs} lines={8}>
        {({ items }) => items.length === 0 ? <Nothing title={t('noLogs')} hint={t('noLogsHint')} /> : (
          <Table<LogLine>
            size="small"
            pagination={false}
            dataSource={items}
            rowKey="number"
            scroll={{ x: 760 }}
            columns={[
              { title: t('time'), width: 168, render: (_, line) => <Time at={line.received} /> },
              { title: t('severity'), width: 116, render: (_, line) => { const [tone, sign] = toneOf(line.severity); return <Sign tone={tone} sign={sign} bare>{w(severityOf(line.severity))}</Sign>; } },
              { title: t('program'), dataIndex: 'program', width: 110, ellipsis: true },
              { title: t('line'), render: (_, line) => <code className="ek-pre">{line.text}</code> },
            ]}
          />
        )}
      </Fetched>
    </Part>
  );
}

export function Audit({ named }: { named: Named }) {
  const t = useText(texts);
  const about = `device/${shownName(named)}`;
  const audit = useGet<List<Entry> | Entry[]>('/audit', { about, limit: MOST });
  return (
    <Part title={t('audit')} extra={<Link to={`/audit?about=${encodeURIComponent(about)}`}>{t('allAudit')}</Link>} flush>
      <Fetched of={audit} lines={8}>
        {(data) => {
          const items = Array.isArray(data) ? data : data.items;
          return items.length === 0 ? <Nothing title={t('noAudit')} /> : (
            <ol className="ek-rows">
              {items.map((entry) => (
                <li key={entry.index}>
                  <span className="ek-row-sign"><Outcome value={entry.outcome} /></span>
                  <span className="ek-row-main">
                    <span><Sentence entry={entry} /></span>
                    {entry.message && <span className="ek-row-more"><Said text={entry.message} lines /></span>}
                  </span>
                  <Time at={entry.at} relative />
                </li>
              ))}
            </ol>
          );
        }}
      </Fetched>
    </Part>
  );
}

export function Explain({ named }: { named: Named }) {
  const t = useText(texts);
  const explained = useGet<{ text: string }>(`/devices/${pathOf(named)}/explain`);
  return (
    <Part title={t('explain')}>
      <Fetched of={explained}>{({ text }) => <pre className="ek-pre ek-explain">{text}</pre>}</Fetched>
    </Part>
  );
}
