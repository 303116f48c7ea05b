import { FilterOutlined, PlusOutlined } from '@ant-design/icons';
import { Badge, Button, Drawer, Input, Table } from 'antd';
import { useEffect, useMemo, useRef, useState } from 'react';
import { useSearchParams } from 'react-router';
import { useList } from '@/api/query';
import type { DeviceList } from '@/api/types';
import { Act, Nothing, Page, Problem, Selector } from '@/components';
import { EditDrawer, type Editing } from '@/components/object-editor';
import words from '@/components/text';
import { useText } from '@/i18n/language';
import { useParam, useParamList } from '@/lib/address';
import { usePaused } from '@/lib/pause';
import { count } from '@/lib/units';
import { Cards } from './Cards';
import { columns, type Row } from './columns';
import './devices.css';
import { Facets } from './Facets';
import { asked, type Facet, sortOf } from './search';
import { TEMPLATE } from './template';
import texts from './text';
import { AROUND_ROWS, useHeight, useNarrow } from './measure';

/** Pixels before the end at which the next rows are fetched. */
const NEAR = 800;

export default function Devices() {
  const t = useText(texts);
  const w = useText(words);
  const [, setParameters] = useSearchParams();
  const [q, setQ] = useParam('q');
  const [typed, setTyped] = useState(q);
  const paused = usePaused(typed);
  const [selector, setSelector] = useParam('labels');
  const [sort, setSort] = useParam('sort');
  const [health, setHealth] = useParamList('health');
  const [update, setUpdate] = useParamList('update');
  const [site, setSite] = useParamList('site');
  const [type, setType] = useParamList('type');
  const [editing, setEditing] = useState<Editing>();
  const [filters, setFilters] = useState(false);
  const narrow = useNarrow();
  const place = useRef<HTMLDivElement>(null);
  const height = useHeight(place);
  useEffect(() => setQ(paused.trim()), [paused, setQ]);

  const chosen = { health, update, site, type };
  const choose: Record<Facet, (values: string[]) => void> = { health: setHealth, update: setUpdate, site: setSite, type: setType };
  const filtered = Object.values(chosen).reduce((sum, values) => sum + values.length, 0);
  const list = useList<Row, DeviceList & { items: Row[] }>('/devices', asked({ q, selector, sort, facets: chosen }), { limit: 200 });
  const add = (wanted: string) => setSelector(selector ? `${selector},${wanted}` : wanted);
  const shownColumns = useMemo(() => columns({ t, w, sort, onLabel: add }), [t, w, sort, selector]);
  const isNear = useRef(false);
  const more = () => {
    if (list.hasNextPage && !list.isFetchingNextPage && !list.isPlaceholderData) void list.fetchNextPage({ cancelRefetch: false });
  };
  // Whoever has scrolled to the end meanwhile need not scroll once more.
  // biome-ignore lint/correctness/useExhaustiveDependencies: whenever a reading has ended
  useEffect(() => {
    if (isNear.current) more();
  }, [list.isFetching]);
  const clear = () => {
    setTyped('');
    setParameters({}, { replace: true });
  };
  const bare = q === '' && selector === '' && filtered === 0;
  const facets = <Facets counts={list.first?.facets} chosen={chosen} onChoose={(facet, values) => choose[facet](values)} onClear={bare ? undefined : clear} />;
  const none = (
    <Nothing
      title={bare ? t('empty') : t('nothing')}
      hint={bare ? t('emptyHint') : t('nothingHint')}
      action={bare ? undefined : <Button onClick={clear}>{t('clear')}</Button>}
    />
  );
  const onScroll = (element: HTMLElement) => {
    isNear.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR;
    if (isNear.current) more();
  };
  return (
    <Page
      title={t('title')}
      beside={list.first && <span className="ek-dim" role="status">{t('found', { n: list.total })}</span>}
      actions={<Act verb="edit" kind="Device" type="primary" icon={<PlusOutlined aria-hidden />} onAct={() => setEditing({ plural: 'devices', kind: 'Device', template: TEMPLATE })}>{t('add')}</Act>}
    >
      <div className="ek-actions">
        <Input allowClear className="ek-devices-search" placeholder={t('search')} aria-label={t('search')} value={typed} onChange={({ target }) => setTyped(target.value)} />
        <Selector value={selector} onChange={setSelector} width={320} />
        <Badge count={filtered} size="small" color="var(--ek-accent)"><Button className="ek-devices-filters" icon={<FilterOutlined aria-hidden />} onClick={() => setFilters(true)}>{t('facets')}</Button></Badge>
      </div>
      {list.error && <Problem error={list.error} retry={() => void list.refetch()} />}
      <div className="ek-devices">
        <aside aria-label={t('facets')} style={{ maxHeight: height + AROUND_ROWS }}>{facets}</aside>
        {narrow ? (
          <Cards rows={list.items} loading={list.isPending} none={none} onEnd={more} more={list.hasNextPage} />
        ) : (
          <div className="ek-part ek-part-flush ek-devices-table" ref={place}>
            <Table<Row>
              size="small"
              virtual
              aria-label={t('table')}
              columns={shownColumns}
              dataSource={list.items}
              rowKey={({ metadata }) => `${metadata.namespace ?? 'default'}/${metadata.name}`}
              pagination={false}
              loading={list.isPending || (list.isPlaceholderData && list.isFetching)}
              scroll={{ x: 1510, y: height }}
              showSorterTooltip={false}
              locale={{ emptyText: list.isPending || list.error ? ' ' : none }}
              onScroll={({ currentTarget }) => onScroll(currentTarget as HTMLElement)}
              onChange={(_, __, sorter) => {
                const one = Array.isArray(sorter) ? sorter[0] : sorter;
                setSort(sortOf(String(one?.columnKey ?? ''), one?.order));
              }}
            />
            <footer className="ek-dim">
              {list.isFetchingNextPage ? t('more') : list.items.length < list.total ? t('loaded', { loaded: count(list.items.length), total: count(list.total) }) : ''}
            </footer>
          </div>
        )}
      </div>
      <Drawer open={filters} onClose={() => setFilters(false)} title={t('facets')} placement="right" size={280}>{facets}</Drawer>
      <EditDrawer editing={editing} onClose={() => setEditing(undefined)} />
    </Page>
  );
}
