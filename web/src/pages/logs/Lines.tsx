import { PlayCircleOutlined, ReloadOutlined } from '@ant-design/icons';
import { Button, Switch } from 'antd';
import { useMemo, useState } from 'react';
import { useGet, useList } from '@/api/query';
import { Nothing, Part, Problem } from '@/components';
import { useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import { Bar } from './Bar';
import { asked, isNarrowed, useFilters } from './filters';
import { Histogram } from './Histogram';
import type { Bucket } from './histogram';
import css from './logs.module.css';
import type { LogLine } from './model';
import { Rows } from './Rows';
import { ends } from './range';
import { TailView } from './TailView';
import texts from './text';

/** Parts of the range in which lines are counted. */
const BUCKETS = 90;

/** Search and live tail. */
export function Lines() {
  const t = useText(texts);
  const [filters, set] = useFilters();
  const [live, setLive] = useParam('live');
  const [wrap, setWrap] = useParam('wrap');
  return (
    <div className={css.view}>
      <Bar
        filters={filters}
        onSet={set}
        withRange={!live}
        extra={
          <>
            <span className={css.wrap}>
              <Switch size="small" aria-label={t('wrap')} checked={wrap !== ''} onChange={(on) => setWrap(on ? '1' : '')} /> <span aria-hidden="true">{t('wrap')}</span>
            </span>
            {!live && (
              <Button icon={<PlayCircleOutlined />} title={t('liveHint')} onClick={() => setLive('1')}>
                {t('live')}
              </Button>
            )}
          </>
        }
      />
      {live ? <TailView filters={filters} onSet={set} wrap={wrap !== ''} onEnd={() => setLive('')} /> : <Found key={JSON.stringify(filters)} wrap={wrap !== ''} />}
    </div>
  );
}

/** What was found. It has a new key with each question, so a range that moves ends when it was asked. */
function Found({ wrap }: { wrap: boolean }) {
  const t = useText(texts);
  const [filters, set] = useFilters();
  const [askedAt, setAskedAt] = useState(() => Date.now());
  const { from, to } = useMemo(() => ends(filters.range, askedAt), [filters.range, askedAt]);
  const query = { ...asked(filters), since: new Date(from).toISOString(), until: new Date(to).toISOString() };
  const lines = useList<LogLine>('/logs', query, { limit: 200 });
  const histogram = useGet<{ buckets: Bucket[]; complete?: boolean }>('/logs/histogram', { ...query, buckets: BUCKETS });
  const isEmpty = lines.data !== undefined && lines.items.length === 0;
  return (
    <>
      <Part className={css.chart ?? ''}>
        <Histogram
          buckets={histogram.data?.buckets ?? []}
          from={from}
          to={to}
          isWaiting={histogram.isPending}
          onChoose={(range) => set({ range })}
          extra={
            <Button size="small" type="text" icon={<ReloadOutlined />} loading={lines.isFetching && !lines.isFetchingNextPage} onClick={() => setAskedAt(Date.now())}>
              {t('refresh')}
            </Button>
          }
        />
        {histogram.data?.complete === false && <p className={css.cut}>{t('incomplete')}</p>}
        {histogram.error && !lines.error && <Problem error={histogram.error} retry={() => void histogram.refetch()} />}
      </Part>
      <Part flush>
        {lines.error ? (
          <Problem error={lines.error} retry={() => void lines.refetch()} />
        ) : isEmpty ? (
          <Nothing
            title={t(isNarrowed(filters) ? 'nothing' : 'empty')}
            hint={t(isNarrowed(filters) ? 'nothingHint' : 'emptyHint')}
            action={
              <Button onClick={() => set({ q: '', device: '', severity: '', program: '', template: '', unknown: '', range: { last: '24h' } })}>
                {isNarrowed(filters) ? t('clearAll') : t('last', { span: '24h' })}
              </Button>
            }
          />
        ) : (
          <Rows
            lines={lines.items}
            wrap={wrap}
            isWaiting={lines.isPending}
            onSet={set}
            onEnd={() => {
              if (lines.hasNextPage && !lines.isFetchingNextPage) void lines.fetchNextPage();
            }}
            foot={lines.hasNextPage ? t('loading') : lines.data ? t('end') : ''}
          />
        )}
      </Part>
    </>
  );
}
