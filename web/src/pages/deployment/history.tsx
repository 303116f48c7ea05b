/** The revisions, what became of each and who asked for it; and how any two of them differ. */
import { Select, Table, type TableColumnsType } from 'antd';
import { useState } from 'react';
import { Time } from '@/components';
import { useLanguage, useText } from '@/i18n/language';
import { span } from '@/lib/time';
import { summaryOf } from '../deployments/content';
import { Result } from '../deployments/result';
import type { Revision } from '../deployments/types';
import { personOf } from '../text/person';
import { visibleText } from '../text/visible';
import { ContentDiff } from './content-diff';
import texts from './text';

export function History({ history, inForce }: { history: Revision[]; inForce: number | undefined }) {
  const t = useText(texts);
  const columns = useColumns(history.at(-1)?.number, inForce);
  return (
    <>
      <Table<Revision> size="small" rowKey="number" columns={columns} dataSource={[...history].reverse()} pagination={history.length > 10 ? { pageSize: 10, showSizeChanger: false } : false} scroll={{ x: 900 }} />
      {history.length > 0 && <Compare key={history.at(-1)?.number} history={history} />}
      {history.length === 0 && <p className="ek-dim waits-none">{t('neverTitle')}</p>}
    </>
  );
}

function useColumns(current: number | undefined, inForce: number | undefined): TableColumnsType<Revision> {
  const t = useText(texts);
  const { language } = useLanguage();
  return [
    {
      title: t('revision'),
      key: 'number',
      width: 110,
      render: (_, { number, revert }) => (
        <span className="ek-num">
          {number} {number === current && <span className="ek-dim">{t('current')} </span>}
          {number === inForce && number !== current && <strong>{t('inForce')} </strong>}
          {revert && <span className="ek-dim">({t('revert')})</span>}
        </span>
      ),
    },
    { title: t('content'), key: 'content', render: (_, { content }) => <span className="history-cut">{visibleText(summaryOf(content))}</span> },
    {
      title: t('result'),
      key: 'result',
      width: 260,
      render: (_, record) => (
        <div className="dep-two">
          <Result of={record.result} />
          {record.reason && <span className="ek-dim history-reason">{visibleText(record.reason)}</span>}
          {record.undoneBy && <span className="ek-dim">{t('undoneBy', { by: visibleText(record.undoneBy) })}</span>}
        </div>
      ),
    },
    {
      title: t('by'),
      key: 'author',
      width: 110,
      render: (_, { author, signer }) => (
        <div className="dep-two">
          <span className="history-cut" title={visibleText(author ?? '')}>{visibleText(personOf(author ?? '')) || '–'}</span>
          {signer && <span className="ek-dim history-cut">{t('signed', { key: visibleText(signer) })}</span>}
        </div>
      ),
    },
    { title: t('commit'), key: 'commit', width: 110, render: (_, { commit }) => <code title={visibleText(commit)}>{visibleText(commit.slice(0, 10)) || '–'}</code> },
    { title: t('started'), key: 'started', width: 160, render: (_, { startedAt }) => <Time at={startedAt} /> },
    {
      title: t('took'),
      key: 'took',
      width: 80,
      align: 'right',
      render: (_, { startedAt, finishedAt }) => <span className="ek-num">{finishedAt ? span((Date.parse(finishedAt) - Date.parse(startedAt)) / 1000, language) : '…'}</span>,
    },
  ];
}

function Compare({ history }: { history: Revision[] }) {
  const t = useText(texts);
  const [to, setTo] = useState(history.at(-1)?.number ?? 0);
  const [from, setFrom] = useState(history.at(-2)?.number ?? 0);
  const options = [...history].reverse().map(({ number, content }) => ({ value: number, label: `${number} · ${visibleText(summaryOf(content))}` }));
  const of = (number: number) => history.find((record) => record.number === number);
  const newer = of(to);
  if (!newer) return null;
  return (
    <section className="history-compare" aria-label={t('compare', { from, to })}>
      <div className="history-choice">
        <strong>{t('compareWith')}</strong>
        <span>
          {t('from')} <Select size="small" aria-label={t('from')} popupMatchSelectWidth={false} value={from} onChange={setFrom} options={[...options, { value: 0, label: t('first') }]} className="history-select" />
        </span>
        <span>
          {t('to')} <Select size="small" aria-label={t('to')} popupMatchSelectWidth={false} value={to} onChange={setTo} options={options} className="history-select" />
        </span>
      </div>
      <ContentDiff from={of(from)?.content} to={newer.content} />
    </section>
  );
}
