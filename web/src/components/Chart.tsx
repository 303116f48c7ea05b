/** A chart over time, drawn by uPlot; its values are also there as a table, for whoever does not see it. */
import { ZoomOutOutlined } from '@ant-design/icons';
import { Button, Tooltip } from 'antd';
import { useEffect, useMemo, useRef, useState } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Change, Point } from '@/api/types';
import { useText } from '@/i18n/language';
import { useLook } from '@/layout/look';
import { both, clock } from '@/lib/time';
import { shown } from '@/lib/units';
import './chart.css';
import { aligned, gapOf } from './aligned';
import { Marks } from './Marks';
import texts from './text';

export { RangePicker } from './RangePicker';
export { useRange } from './range';

export interface Line {
  name: string;
  points: readonly Point[];
}

interface Props {
  title: string;
  unit: string;
  series: readonly Line[];
  from: number;
  to: number;
  /** Changes, marked on the time axis. */
  marks?: readonly Change[] | undefined;
  /** A span was drawn over with the mouse. */
  onZoom?: (from: number, to: number) => void;
  /** Where both ends were chosen: the way back. */
  onZoomOut?: (() => void) | undefined;
  height?: number;
  /** The greatest value of the axis; by itself a ratio ends at 1, and all else where its values do. */
  top?: number;
  loading?: boolean;
}

/** Pixels beside the plot (its value axis and padding), and those that a mark takes. */
const AROUND = 76;
const MARK = 24;

/** Told apart by hue and lightness, in both themes. */
const COLOURS = {
  light: ['#0b6e6e', '#a3540a', '#5a4fcf', '#b3202a', '#3d7a1d', '#8a3a8f', '#4f5b61', '#1c56ad'],
  dark: ['#3fc4b8', '#f0a85c', '#a59bff', '#ff8f8a', '#8fd06a', '#e08be6', '#a3b1b7', '#8bbaff'],
};

export function Chart({ title, unit, series, from, to, marks, onZoom, onZoomOut, height = 150, top, loading = false }: Props) {
  const t = useText(texts);
  const { dark } = useLook();
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const [width, setWidth] = useState(0);
  const [at, setAt] = useState<number | null>(null);
  const data = useMemo(() => aligned(series, gapOf(series, from, to)), [series, from, to]);
  const empty = series.every(({ points }) => points.length === 0);
  const names = series.map(({ name }) => name).join('\n');
  const zoom = useRef(onZoom);
  zoom.current = onZoom;

  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const watch = new ResizeObserver(() => setWidth(Math.floor(element.clientWidth)));
    watch.observe(element);
    return () => watch.disconnect();
  }, []);

  // biome-ignore lint/correctness/useExhaustiveDependencies: new values are set below, without drawing everything anew
  useEffect(() => {
    const element = place.current;
    if (!element || width < 50) return;
    const made = new uPlot(options({ names: names.split('\n'), unit, dark, width, height, top, from, to, onAt: setAt, onZoom: (a, b) => zoom.current?.(a, b) }), data as uPlot.AlignedData, element);
    plot.current = made;
    return () => {
      made.destroy();
      plot.current = undefined;
    };
  }, [names, unit, dark, width > 0, height, top]);

  useEffect(() => plot.current?.setSize({ width, height }), [width, height]);
  useEffect(() => {
    plot.current?.batch(() => {
      plot.current?.setData(data as uPlot.AlignedData, false);
      plot.current?.setScale('x', { min: from, max: to });
    });
  }, [data, from, to]);

  const colours = COLOURS[dark ? 'dark' : 'light'];
  const place0 = at ?? lastFilled(data);
  return (
    <figure className={`ek-chart${loading ? ' ek-chart-old' : ''}`} aria-label={title}>
      <figcaption>
        <span className="ek-chart-title">{title}</span>
        <span className="ek-chart-legend">
          {series.map((line, index) => {
            const value = place0 === null ? undefined : data[index + 1]?.[place0];
            return (
              <span key={line.name}>
                <i style={{ background: colours[index % colours.length] }} aria-hidden="true" />
                {series.length > 1 || line.name !== title ? line.name : ''} <b className="ek-num">{value === null || value === undefined ? '–' : shown(value, unit)}</b>
              </span>
            );
          })}
        </span>
        {onZoomOut && (
          <Tooltip title={t('zoomOut')}><Button size="small" type="text" icon={<ZoomOutOutlined />} aria-label={t('zoomOut')} onClick={onZoomOut} /></Tooltip>
        )}
      </figcaption>
      <div className="ek-chart-plot">
        <div className="ek-chart-place" ref={place} style={{ height }} aria-hidden="true" />
        {at !== null && data[0][at] !== undefined && <span className="ek-chart-at ek-num">{both(data[0][at] * 1000)}</span>}
      </div>
      {empty && !loading && <div className="ek-chart-empty">{t('noValues')}</div>}
      {marks && <Marks of={marks} from={from} to={to} places={Math.max(4, Math.floor((width - AROUND) / MARK))} />}
      {!empty && <Values title={title} unit={unit} series={series} />}
    </figure>
  );
}

/** Rows of the table: more would be no help to whoever listens to them. */
const ROWS = 24;

function Values({ title, unit, series }: { title: string; unit: string; series: readonly Line[] }) {
  const t = useText(texts);
  return (
    <div className="ek-hidden">
    <table>
      <caption>{`${title}: ${t('asTable')}`}</caption>
      <thead><tr><th scope="col">{t('at')}</th><th scope="col">{t('series')}</th><th scope="col">{t('least')}</th><th scope="col">{t('mean')}</th><th scope="col">{t('greatest')}</th></tr></thead>
      <tbody>
        {series.flatMap(({ name, points }) => {
          const step = Math.max(1, Math.ceil(points.length / ROWS));
          return points.filter((_, index) => index % step === 0).map((point) => (
            <tr key={`${name} ${point.at}`}>
              <td>{clock(point.at * 1000)}</td><td>{name}</td><td>{shown(point.min, unit)}</td><td>{shown(point.avg, unit)}</td><td>{shown(point.max, unit)}</td>
            </tr>
          ));
        })}
      </tbody>
    </table>
    </div>
  );
}

function lastFilled(data: ReturnType<typeof aligned>): number | null {
  const [times, ...values] = data;
  for (let index = times.length - 1; index >= 0; index--) {
    if (values.some((column) => column[index] !== null && column[index] !== undefined)) return index;
  }
  return null;
}

interface Drawn {
  names: string[];
  unit: string;
  dark: boolean;
  width: number;
  height: number;
  top: number | undefined;
  from: number;
  to: number;
  onAt: (index: number | null) => void;
  onZoom: (from: number, to: number) => void;
}

function options({ names, unit, dark, width, height, top, from, to, onAt, onZoom }: Drawn): uPlot.Options {
  const [ink, line] = dark ? ['#93a2a8', '#1f2a2e'] : ['#5a677d', '#edf0f1'];
  const colours = COLOURS[dark ? 'dark' : 'light'];
  const isRatio = unit.toLowerCase() === 'ratio';
  const axis: Partial<uPlot.Axis> = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 }, font: '11px system-ui, sans-serif' };
  return {
    width,
    height,
    padding: [8, 12, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: true, y: false, setScale: false }, points: { size: 6 }, sync: { key: 'evenkeel', setSeries: false } },
    scales: {
      x: { time: true, min: from, max: to },
      y: { range: (_, __, most) => [0, top ?? (isRatio ? 1 : most > 0 ? most * 1.15 : 1)] },
    },
    axes: [
      { ...axis, space: 70, size: 36, values: TIMES },
      { ...axis, size: 76, space: 34, ...(unit.toLowerCase().startsWith('bytes') && { incrs: POWERS }), values: (_, ticks) => ticks.map((tick) => (isRatio ? `${Math.round(tick * 100)} %` : shown(tick, unit))) },
    ],
    series: [
      {},
      ...names.map((label, index) => {
        const stroke = colours[index % colours.length] ?? ink;
        return { label, stroke, width: 1.5, points: { show: false }, ...(names.length === 1 && { fill: `${stroke}22` }), spanGaps: false };
      }),
    ],
    hooks: {
      setCursor: [(made) => onAt(made.cursor.idx ?? null)],
      setSelect: [
        (made) => {
          const { left, width: drawn } = made.select;
          if (drawn > 4) onZoom(made.posToVal(left, 'x'), made.posToVal(left + drawn, 'x'));
          made.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
    },
  };
}

/** Between ticks of bytes: powers of two, so that what is written at them is round. */
const POWERS = Array.from({ length: 51 }, (_, at) => 2 ** at);

/** Ticks of the time axis, in 24 hours and without a year where that says nothing. */
const TIMES: uPlot.Axis.Values = [
  [86_400, '{MM}-{DD}', null, null, null, null, null, null, 1],
  [3_600, '{HH}:{mm}', '\n{MM}-{DD}', null, '\n{MM}-{DD}', null, null, null, 1],
  [60, '{HH}:{mm}', '\n{MM}-{DD}', null, '\n{MM}-{DD}', null, null, null, 1],
  [1, '{HH}:{mm}:{ss}', '\n{MM}-{DD}', null, '\n{MM}-{DD}', null, null, null, 1],
] as unknown as uPlot.Axis.Values;
