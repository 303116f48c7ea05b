/** What the rule looked at, drawn around the time of the alert, with what was changed on the device. */
import { Skeleton } from 'antd';
import type { Change, Manifest, Samples } from '@/api/types';
import { useGet } from '@/api/query';
import { Problem } from '@/components';
import { Chart } from '@/components/Chart';
import { useText } from '@/i18n/language';
import { parseName, pathOf } from '@/lib/name';
import type { Alert } from '../alerts/types';
import { visibleText } from '../text/visible';
import { chosen } from './series';
import texts from './text';

/** Seconds before the alert began that are shown. */
const BEFORE = 3 * 3600;

type Answer = Samples | { items: Samples[] };

export function Values({ alert }: { alert: Alert }) {
  const t = useText(texts);
  const [device, rule] = [pathOf(parseName(alert.device)), pathOf(parseName(alert.rule))];
  const written = useGet<Manifest<{ expr?: string }>>(`/alertrules/${rule}`);
  const there = useGet<string[] | { items: string[] }>(`/devices/${device}/series`);
  const expr = written.data?.spec.expr ?? '';
  const names = there.data ? chosen(expr, Array.isArray(there.data) ? there.data : there.data.items) : [];
  // The end is put onto whole minutes, so that the same question is asked while the page is open.
  const end = Math.ceil((alert.resolvedAt ? Date.parse(alert.resolvedAt) + 1800e3 : Date.now()) / 60e3) * 60;
  const from = Math.floor(Date.parse(alert.activeAt) / 1000) - BEFORE;
  const samples = useSeries(alert.device, names, from, end);
  const changes = useGet<{ items: Change[] }>(`/devices/${device}/changes`, { since: '30d' }, { enabled: names.length > 0 });
  return (
    <div className="alert-values">
      {(written.isPending || there.isPending) && <Skeleton active title={false} paragraph={{ rows: 3 }} />}
      {expr && (
        <p>
          <span className="ek-dim">{t('expr')}</span> <code>{visibleText(expr)}</code>
        </p>
      )}
      {written.data && there.data && names.length === 0 && <p className="ek-dim">{t('noChart')}</p>}
      {samples.error && <Problem error={samples.error} />}
      {samples.items.length > 0 && (
        <Chart
          title={samples.items.length === 1 ? (samples.items[0]?.series ?? '') : visibleText(parseName(alert.device).name)}
          unit={samples.items[0]?.unit ?? ''}
          series={samples.items.map(({ series, points }) => ({ name: series, points }))}
          from={from}
          to={end}
          marks={changes.data?.items.filter(({ at }) => Date.parse(at) / 1000 >= from)}
          height={180}
        />
      )}
    </div>
  );
}

function useSeries(device: string, names: string[], from: number, to: number) {
  // One question for each name: what an address may repeat is not the same for all servers between us and the engine.
  const first = useOne(device, names[0], from, to);
  const second = useOne(device, names[1], from, to);
  const third = useOne(device, names[2], from, to);
  const all = [first, second, third];
  return { error: all.find(({ error }) => error)?.error, items: all.flatMap(({ data }) => (data ? ('items' in data ? data.items : [data]) : [])) };
}

function useOne(device: string, name: string | undefined, from: number, to: number) {
  const { namespace, name: called } = parseName(device);
  return useGet<Answer>('/samples', { device: `${namespace}/${called}`, series: name, from, to, points: 300 }, { enabled: name !== undefined });
}
