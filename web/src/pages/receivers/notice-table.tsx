/** What was said to whom, and what became of it. */
import { CheckCircleFilled, ClockCircleOutlined, CloseCircleFilled } from '@ant-design/icons';
import type { UseQueryResult } from '@tanstack/react-query';
import { Table, type TableColumnsType } from 'antd';
import { Link } from 'react-router';
import type { Refused } from '@/api/http';
import { Nothing, Problem, Sign, Time } from '@/components';
import { useText } from '@/i18n/language';
import { visibleText } from '../text/visible';
import { type Notice, outcomeOf, plainName } from './notices';
import texts from './text';

interface Props {
  read: UseQueryResult<{ items: Notice[] }, Refused>;
  items: Notice[];
  isDead: boolean;
}

/** Alerts of a notice that are named. */
const NAMED = 3;

export function NoticeTable({ read, items, isDead }: Props) {
  const t = useText(texts);
  const columns: TableColumnsType<Notice> = [
    { title: t('at'), key: 'at', width: 150, render: (_, { notice }) => <Time at={notice.at} /> },
    {
      title: t('name'),
      key: 'receiver',
      width: 130,
      render: (_, { notice }) => (
        <div className="receiver-lost">
          <span>{visibleText(plainName(notice.receiver))}</span>
          {notice.instead && <span className="ek-dim">{t('instead', { of: visibleText(plainName(notice.instead.of)) })}</span>}
        </div>
      ),
    },
    { title: t('reason'), key: 'reason', width: 140, render: (_, { notice }) => <Reason of={notice.reason} /> },
    { title: t('about1'), key: 'about', render: (_, { notice }) => <About of={notice} /> },
    { title: t('tries'), key: 'tries', width: 90, align: 'right', render: (_, { attempts }) => <span className="ek-num">{attempts}</span> },
    { title: t('outcome'), key: 'outcome', width: 220, render: (_, one) => <OutcomeSign of={one} /> },
  ];
  if (read.error && !read.data) return <Problem error={read.error} retry={() => void read.refetch()} />;
  return (
    <Table<Notice>
      size="small"
      rowKey={({ notice }) => notice.id}
      columns={columns}
      dataSource={items}
      loading={read.isPending}
      pagination={items.length > 50 ? { pageSize: 50, showSizeChanger: false } : false}
      scroll={{ x: 1000 }}
      locale={{ emptyText: read.isPending ? ' ' : isDead ? <Nothing title={t('noneDead')} hint={t('noneDeadHint')} /> : <Nothing title={t('noneNotices')} hint={t('noneNoticesHint')} /> }}
    />
  );
}

function Reason({ of }: { of: string }) {
  const t = useText(texts);
  const key = of === 'test' ? 'testReason' : of;
  return <>{key in texts ? t(key as keyof typeof texts) : visibleText(of)}</>;
}

function About({ of }: { of: Notice['notice'] }) {
  const t = useText(texts);
  const { firing = [], resolved = [] } = of;
  const all = [...firing, ...resolved];
  return (
    <div className="receiver-lost">
      <span className="ek-dim">
        {firing.length > 0 && t('firing', { n: firing.length })} {resolved.length > 0 && t('resolved', { n: resolved.length })}
      </span>
      {all.slice(0, NAMED).map((said) =>
        // What a test says is about no alert.
        of.reason === 'test' ? (
          <span key={said.id} className="receiver-to">{visibleText(said.summary ?? said.id)}</span>
        ) : (
          <Link key={said.id} to={`/alerts/${encodeURIComponent(said.id)}`} className="receiver-to">
            {visibleText(said.summary ?? said.id)}
          </Link>
        ),
      )}
    </div>
  );
}

function OutcomeSign({ of }: { of: Notice }) {
  const t = useText(texts);
  const outcome = outcomeOf(of);
  return (
    <div className="receiver-lost">
      {outcome === 'said' && (
        <span>
          <Sign tone="good" sign={<CheckCircleFilled />} bare>{t('said')}</Sign> <span className="ek-dim"><Time at={of.finishedAt} relative /></span>
        </span>
      )}
      {outcome === 'given' && <Sign tone="bad" sign={<CloseCircleFilled />} bare>{t('given')}</Sign>}
      {outcome === 'due' && (
        <span>
          <Sign tone="warn" sign={<ClockCircleOutlined />} bare>{t('due')}</Sign> <span className="ek-dim"><Time at={of.dueAt} relative /></span>
        </span>
      )}
      {of.problem && outcome !== 'said' && <span className={outcome === 'given' ? 'receiver-bad' : 'ek-dim'}>{visibleText(of.problem)}</span>}
    </div>
  );
}
