import { CheckCircleFilled, WarningFilled } from '@ant-design/icons';
import { Button, Table, Typography } from 'antd';
import { useGet } from '@/api/query';
import { Fetched, Name, Nothing, Part, Sign, Time } from '@/components';
import { useText } from '@/i18n/language';
import { parseName } from '@/lib/name';
import { Said } from '../text/Said';
import { useFilters } from './filters';
import css from './logs.module.css';
import type { Journal, Sender } from './model';
import texts from './text';

type Given = { senders: Sender[]; forgotten: number; journals: Record<string, Journal> };

/** Who sends lines and is no device, with what to do about it; and how it stands with the journals that are read. */
export function SendersView() {
  const t = useText(texts);
  const [, set] = useFilters();
  const given = useGet<Given>('/logs/senders', undefined, { refetchInterval: 30_000 });
  return (
    <Fetched of={given}>
      {({ senders, forgotten, journals }) => (
        <div className={css.view}>
          <Part
            title={t('unknownTitle')}
            flush
            extra={senders.length > 0 && <Button size="small" onClick={() => set({ view: 'lines', unknown: '1', device: '' })}>{t('onlyUnknown')}</Button>}
          >
            {senders.length === 0 ? <Nothing title={t('noSenders')} hint={t('noSendersHint')} /> : <Unknown senders={senders} />}
            {forgotten > 0 && <div className={css.foot}>{t('forgotten', { n: forgotten })}</div>}
          </Part>
          <Part title={t('journals')} flush>
            {Object.keys(journals ?? {}).length === 0 ? <Nothing title={t('noJournals')} hint={t('noJournalsHint')} /> : <Journals journals={journals} />}
          </Part>
        </div>
      )}
    </Fetched>
  );
}

function Unknown({ senders }: { senders: Sender[] }) {
  const t = useText(texts);
  return (
    <>
      <p className={css.about}>{t('unknownAbout')}</p>
      <Table<Sender>
        size="small"
        rowKey={(sender) => `${sender.address} ${sender.device ?? ''}`}
        dataSource={senders}
        scroll={{ x: 1080 }}
        pagination={senders.length > 50 ? { pageSize: 50, showSizeChanger: false, size: 'small' } : false}
        columns={[
          { title: t('address'), dataIndex: 'address', width: 170, render: (address: string) => <code><Said text={address} /></code> },
          { title: t('device'), dataIndex: 'device', width: 140, render: (device?: string | null) => (device ? <Name kind="Device" of={device} /> : <span className="ek-dim">–</span>) },
          { title: t('hosts'), dataIndex: 'hosts', width: 190, render: (hosts: string[]) => <Said text={hosts.join(', ')} /> },
          { title: t('kept'), dataIndex: 'lines', width: 100, align: 'right', className: 'ek-num' },
          { title: t('refused'), dataIndex: 'refused', width: 90, align: 'right', className: 'ek-num' },
          { title: t('lastSeen'), dataIndex: 'last', width: 110, render: (at?: string | null) => <Time at={at} relative /> },
          { title: t('todo'), render: (_, sender) => <Todo sender={sender} /> },
        ]}
      />
    </>
  );
}

function Todo({ sender }: { sender: Sender }) {
  const t = useText(texts);
  if (sender.device) return <span>{t(sender.refused > 0 ? 'todoRate' : 'todoJournal')}</span>;
  return (
    <span>
      {sender.refused > 0 && `${t('todoRate')} `}
      {t('todoDeclare')}
      <Typography.Text code copyable={{ text: `evenkeel logs senders --declare ${sender.address}` }} className={css.command}>
        evenkeel logs senders --declare <Said text={sender.address} />
      </Typography.Text>
    </span>
  );
}

function Journals({ journals }: { journals: Record<string, Journal> }) {
  const t = useText(texts);
  const rows = Object.entries(journals)
    .map(([name, journal]) => ({ name, ...journal }))
    .sort((a, b) => Number(!a.problem) - Number(!b.problem) || parseName(a.name).name.localeCompare(parseName(b.name).name));
  return (
    <>
      <p className={css.about}>{t('journalsAbout')}</p>
      <Table
        size="small"
        rowKey="name"
        dataSource={rows}
        scroll={{ x: 720 }}
        pagination={rows.length > 50 ? { pageSize: 50, showSizeChanger: false, size: 'small' } : false}
        columns={[
          { title: t('device'), dataIndex: 'name', width: 200, render: (name: string) => <Name kind="Device" of={name} /> },
          {
            title: t('state'),
            render: (_, { problem }) =>
              problem ? <Sign tone="bad" sign={<WarningFilled />}><Said text={problem} /></Sign> : <Sign tone="good" sign={<CheckCircleFilled />}>{t('reads')}</Sign>,
          },
          { title: t('readAt'), dataIndex: 'readAt', width: 130, render: (at?: string | null) => <Time at={at} relative /> },
          { title: t('count'), dataIndex: 'lines', width: 100, align: 'right', className: 'ek-num' },
          { title: <span title={t('gapsHint')}>{t('gaps')}</span>, dataIndex: 'gaps', width: 90, align: 'right', className: 'ek-num' },
        ]}
      />
    </>
  );
}
