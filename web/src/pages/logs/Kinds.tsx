import { ArrowDownOutlined, RiseOutlined, StarFilled } from '@ant-design/icons';
import { Button, Segmented, Table, type TableColumnsType } from 'antd';
import { useMemo, useState } from 'react';
import { useGet } from '@/api/query';
import { Fetched, Name, Nothing, Part, Sign, Time } from '@/components';
import { useLanguage, useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import { span } from '@/lib/time';
import { Said } from '../text/Said';
import { Bar } from './Bar';
import { Example } from './Example';
import { useFilters } from './filters';
import css from './logs.module.css';
import type { LogKind, Sort } from './model';
import { Marked } from './Marked';
import { ends } from './range';
import { Spark } from './Spark';
import { templateParts } from './template';
import texts from './text';

/** In the order of how much they ask for a look. */
export const SORTS: readonly Sort[] = ['new', 'unusual', 'vanished'];
const LOOKS = {
  new: { tone: 'busy', sign: <StarFilled /> },
  unusual: { tone: 'warn', sign: <RiseOutlined /> },
  vanished: { tone: 'bad', sign: <ArrowDownOutlined /> },
} as const;

/** What kinds of lines there are, how often they come, and which stand out. */
export function Kinds() {
  const t = useText(texts);
  const { language } = useLanguage();
  const [filters, set] = useFilters();
  const [only, setOnly] = useParam('only');
  const [askedAt] = useState(() => Date.now());
  const { from, to } = useMemo(() => ends(filters.range, askedAt), [filters.range, askedAt]);
  const kinds = useGet<LogKind[] | { items: LogKind[] }>('/logs/templates', { device: filters.device, since: new Date(from).toISOString() });
  const columns: TableColumnsType<LogKind> = [
    {
      title: t('kindText'),
      dataIndex: 'text',
      render: (text: string, kind) => (
        <div className={css.kind}>
          {SORTS.filter((sort) => kind.is.includes(sort)).map((sort) => (
            <span key={sort} title={t(`${sort}Hint`)}>
              <Sign {...LOOKS[sort]}>{t(sort)}</Sign>
            </span>
          ))}
          <code>
            {kind.program && <b><Said text={kind.program} />: </b>}
            <Marked parts={templateParts(text)} />
          </code>
        </div>
      ),
    },
    {
      title: t('devices'),
      width: 190,
      render: (_, kind) => (
        <>
          {kind.devices.slice(0, 2).map((device) => <div key={device} className={css.device1}><Name kind="Device" of={device} /></div>)}
          {kind.from > 2 && <div className="ek-dim">{t('more', { n: kind.from - Math.min(2, kind.devices.length) })}</div>}
        </>
      ),
    },
    { title: t('count'), dataIndex: 'lines', width: 90, align: 'right', className: 'ek-num', sorter: (a, b) => a.lines - b.lines, render: (lines: number) => lines.toLocaleString('en-US').replaceAll(',', '\u202f') },
    {
      title: t('rate'),
      width: 170,
      render: (_, kind) => <Spark parts={kind.parts} say={(lines) => t('linesPart', { lines, part: span((to - from) / 1000 / Math.max(1, kind.parts.length), language) })} />,
    },
    { title: t('first'), dataIndex: 'first', width: 120, sorter: (a, b) => Number(a.first) - Number(b.first), render: (at: number) => <Time at={at} relative /> },
    { title: t('lastSeen'), dataIndex: 'last', width: 120, sorter: (a, b) => Number(a.last) - Number(b.last), render: (at: number) => <Time at={at} relative /> },
  ];
  return (
    <div className={css.view}>
      <Bar filters={filters} onSet={set} only="device" />
      <Part flush>
        <Fetched of={kinds} lines={8}>
          {(given) => {
            // What stands out comes first; else as the engine has it, the newest before the oldest.
            const all = (Array.isArray(given) ? given : given.items).toSorted((a, b) => Number(b.is.length > 0) - Number(a.is.length > 0));
            const shown = only ? all.filter((kind) => kind.is.includes(only as Sort)) : all;
            return (
              <>
                <div className={css.sorts}>
                  <Segmented
                    value={only}
                    onChange={(value) => setOnly(value)}
                    options={[
                      { value: '', label: `${t('all')} ${all.length}` },
                      ...SORTS.map((sort) => ({ value: sort, label: `${t(sort)} ${all.filter((kind) => kind.is.includes(sort)).length}`, title: t(`${sort}Hint`) })),
                    ]}
                  />
                  {only && <span className="ek-dim">{t(`${only as Sort}Hint`)}</span>}
                </div>
                {shown.length === 0 ? (
                  <Nothing
                    title={t(only ? 'noneNew' : 'noKinds')}
                    hint={t(only ? 'noneNewHint' : 'noKindsHint')}
                    action={!only && <Button onClick={() => set({ range: { last: '24h' } })}>{t('last', { span: '24h' })}</Button>}
                  />
                ) : (
                  <Table<LogKind>
                    size="small"
                    rowKey="template"
                    columns={columns}
                    dataSource={shown}
                    scroll={{ x: 980 }}
                    pagination={shown.length > 50 ? { pageSize: 50, showSizeChanger: false, size: 'small' } : false}
                    expandable={{ expandRowByClick: true, expandedRowRender: (kind) => <Example kind={kind} onShow={() => set({ view: 'lines', template: kind.template, device: kind.from === 1 ? (kind.devices[0] ?? '') : '' })} /> }}
                  />
                )}
              </>
            );
          }}
        </Fetched>
      </Part>
    </div>
  );
}
