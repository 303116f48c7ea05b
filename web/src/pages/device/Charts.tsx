import { keepPreviousData } from '@tanstack/react-query';
import { useGet } from '@/api/query';
import type { Change, List, Samples } from '@/api/types';
import { Nothing, Part, Problem } from '@/components';
import { Chart, RangePicker, useRange } from '@/components/Chart';
import type { Range } from '@/components/range';
import { useText } from '@/i18n/language';
import type { Say } from '@/i18n/text';
import { fullName, type Named, pathOf } from '@/lib/name';
import { type Planned, plan, takeApart } from './charts';
import texts from './text';

/** Points of a line: as many as can be told apart on a screen. */
const POINTS = 300;

/** What the device used over time, with the changes beside it. `isMeant`: its manifest says that it is to be measured. */
export function Charts({ named, isMeant }: { named: Named; isMeant: boolean }) {
  const t = useText(texts);
  const { range, choose, zoom } = useRange('6h');
  const series = useGet<string[] | { items: string[] }>(`/devices/${pathOf(named)}/series`, undefined, { staleTime: 60_000 });
  const changes = useGet<List<Change>>(`/devices/${pathOf(named)}/changes`, { since: '30d' });
  const known = Array.isArray(series.data) ? series.data : (series.data?.items ?? []);
  const charts = plan(known);
  return (
    <Part title={t('charts')} extra={<RangePicker range={range} onChoose={choose} />}>
      {series.error && <Problem error={series.error} retry={() => void series.refetch()} />}
      {series.data && charts.length === 0 && <Nothing title={t(isMeant ? 'noneYet' : 'noSeries')} hint={t(isMeant ? 'noneYetHint' : 'noSeriesHint')} />}
      <div className="ek-charts">
        {charts.map((chart) => (
          <Drawn key={chart.id} chart={chart} named={named} range={range} marks={changes.data?.items ?? []} onZoom={zoom} onZoomOut={range.last ? undefined : () => choose({ last: '6h' })} />
        ))}
      </div>
    </Part>
  );
}

interface Props {
  chart: Planned;
  named: Named;
  range: Range;
  marks: readonly Change[];
  onZoom: (from: number, to: number) => void;
  onZoomOut: (() => void) | undefined;
}

function Drawn({ chart, named, range, marks, onZoom, onZoomOut }: Props) {
  const t = useText(texts);
  const read = useGet<Samples | { items: Samples[] }>(
    '/samples',
    { device: fullName(named), series: chart.series, from: range.from, to: range.to, points: POINTS },
    { placeholderData: keepPreviousData, staleTime: 30_000 },
  );
  const all = read.data === undefined ? [] : 'items' in read.data ? read.data.items : [read.data];
  const lines = chart.series.map((name) => ({ name: called(t, name), points: all.find(({ series }) => series === name)?.points ?? [] }));
  return (
    <div>
      {read.error && <Problem error={read.error} />}
      <Chart title={t(chart.id)} unit={all[0]?.unit ?? chart.unit} series={lines} from={range.from} to={range.to} marks={marks} onZoom={onZoom} onZoomOut={onZoomOut} loading={read.isPlaceholderData || read.isPending} />
      {chart.leftOff > 0 && <p className="ek-dim">{t('leftOff', { n: chart.leftOff })}</p>}
    </div>
  );
}

/** Series that have a text of their own name. */
const NAMED: ReadonlySet<string> = new Set(['iowait', 'received', 'sent', 'one', 'five', 'fifteen', 'receiveErrors', 'sendErrors', 'receiveDrops', 'sendDrops']);

/** What a line is called beside its chart's title. */
function called(t: Say<typeof texts>, series: string): string {
  const { item, what } = takeApart(series);
  switch (series) {
    case 'cpu.ratio':
      return t('busy');
    case 'memory.ratio':
      return t('used');
    case 'swap.ratio':
      return t('swap');
    case 'logs.lines':
      return t('lines');
    case 'logs.errors':
      return t('errorLines');
  }
  if (NAMED.has(what)) return t(what as keyof typeof texts, { item });
  if (what === 'ratio' || what === 'seconds') return item || what;
  return item ? `${item} ${what}` : what;
}
