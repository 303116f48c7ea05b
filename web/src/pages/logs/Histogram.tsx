import { type KeyboardEvent, type PointerEvent, type ReactNode, useMemo, useState } from 'react';
import { useText } from '@/i18n/language';
import { clock } from '@/lib/time';
import { count } from '@/lib/units';
import { useSize } from '../text/size';
import { type Bar, barAt, bars, type Bucket, chosen, ticks } from './histogram';
import css from './logs.module.css';
import type { Range } from './range';
import texts from './text';

const HEIGHT = 72;
const DAY = 86_400_000;

type Props = { buckets: Bucket[]; from: number; to: number; isWaiting: boolean; onChoose: (range: Range) => void; extra?: ReactNode };

/** Lines over time by how grave they are. A part is chosen by dragging, or by keys. */
export function Histogram({ buckets, from, to, isWaiting, onChoose, extra }: Props) {
  const t = useText(texts);
  const [ref, { width }] = useSize<HTMLDivElement>();
  const { bars: shown, most } = useMemo(() => bars(buckets, to), [buckets, to]);
  const [at, setAt] = useState<number>();
  const [begun, setBegun] = useState<number>();
  const total = useMemo(() => sum(buckets), [buckets]);

  const point = (event: PointerEvent<SVGSVGElement>): number => {
    const box = event.currentTarget.getBoundingClientRect();
    return barAt(shown, (event.clientX - box.left) / Math.max(1, box.width));
  };
  const choose = (first: number, last: number): void => {
    const range = chosen(shown, first, last);
    setBegun(undefined);
    if (range) onChoose(range);
  };
  const onKey = (event: KeyboardEvent): void => {
    const here = at ?? shown.length - 1;
    const move = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: shown.length - 1 }[event.key];
    if (move !== undefined) {
      if (event.shiftKey && begun === undefined) setBegun(here);
      if (!event.shiftKey) setBegun(undefined);
      setAt(Math.min(shown.length - 1, Math.max(0, move)));
    } else if (event.key === 'Enter' || event.key === ' ') choose(begun ?? here, here);
    else if (event.key === 'Escape') {
      setBegun(undefined);
      setAt(undefined);
    } else return;
    event.preventDefault();
  };
  const bar = at === undefined ? undefined : shown[at];
  const short = to - from <= DAY;
  const readout = bar
    ? t('bar', { from: clock(bar.from), to: clock(bar.to).slice(11), ...counts(buckets[at ?? 0]) })
    : t('histogramHelp');
  const wide = width / Math.max(1, shown.length);
  return (
    <div ref={ref} className={isWaiting ? `${css.histogram} ${css.waiting}` : css.histogram}>
      <div className={css.legend}>
        <span className={css.keyError}>{t('errors')} <b className="ek-num">{count(total.error)}</b></span>
        <span className={css.keyWarning}>{t('warnings')} <b className="ek-num">{count(total.warning)}</b></span>
        <span className={css.keyOther}>{t('others')} <b className="ek-num">{count(total.other)}</b></span>
        <span className={css.readout} aria-live="polite">{readout}</span>
        {extra}
      </div>
      <svg
        role="application"
        aria-label={`${t('histogram')}. ${t('histogramHelp')}`}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it is worked with keys
        tabIndex={0}
        width={width}
        height={HEIGHT}
        className={css.bars}
        onKeyDown={onKey}
        onPointerDown={(event) => {
          if (event.button !== 0 || shown.length === 0) return;
          event.currentTarget.setPointerCapture(event.pointerId);
          setBegun(point(event));
          setAt(point(event));
        }}
        onPointerMove={(event) => setAt(point(event))}
        onPointerUp={(event) => {
          if (begun !== undefined) choose(begun, point(event));
        }}
        onPointerCancel={() => setBegun(undefined)}
        onPointerLeave={() => {
          if (begun === undefined) setAt(undefined);
        }}
        onBlur={() => {
          setAt(undefined);
          setBegun(undefined);
        }}
      >
        <title>{t('histogram')}</title>
        <defs>
          <pattern id="ek-logs-warning" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <rect width="5" height="5" className={css.fillWarning} />
            <rect width="2" height="5" className={css.stripe} />
          </pattern>
        </defs>
        {at !== undefined && <rect x={Math.min(begun ?? at, at) * wide} width={(Math.abs((begun ?? at) - at) + 1) * wide} height={HEIGHT} className={begun === undefined ? css.hover : css.brush} />}
        {shown.map((bar, number) => (
          <Column key={bar.from} bar={bar} x={number * wide + 0.5} width={Math.max(1, wide - 1)} />
        ))}
        <line x1={0} x2={width} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} className={css.axis} />
        {most > 0 && <text x={2} y={10} className={css.most}>{count(most)}</text>}
      </svg>
      <div className={css.ticks} aria-hidden="true">
        {ticks(from, to, Math.max(2, Math.floor(width / 110)), -new Date(to).getTimezoneOffset()).map((tick) => {
          const left = ((tick - from) / Math.max(1, to - from)) * width;
          const edge = left > width - 40 ? css.last : left < 20 ? css.first : undefined;
          return <span key={tick} className={edge} style={{ left }}>{short ? clock(tick).slice(11, 16) : clock(tick).slice(5, 16)}</span>;
        })}
      </div>
    </div>
  );
}

function Column({ bar, x, width }: { bar: Bar; x: number; width: number }) {
  const high = HEIGHT - 12;
  let top = HEIGHT - 1;
  const part = (share: number, kind: string | undefined, key: string) => {
    // What is there is seen: a single error among thousands of lines is a pixel high, too.
    const height = share > 0 ? Math.max(2, share * high) : 0;
    top -= height;
    return height > 0 && <rect key={key} x={x} y={top} width={width} height={height} className={kind} />;
  };
  return <g>{[part(bar.other, css.other, 'other'), part(bar.warning, css.warning, 'warning'), part(bar.error, css.error, 'error')]}</g>;
}

function counts(bucket: Bucket | undefined): { error: number; warning: number; other: number } {
  return { error: bucket?.counts.error ?? 0, warning: bucket?.counts.warning ?? 0, other: bucket?.counts.other ?? 0 };
}

function sum(buckets: Bucket[]): { error: number; warning: number; other: number } {
  const total = { error: 0, warning: 0, other: 0 };
  for (const bucket of buckets) {
    const { error, warning, other } = counts(bucket);
    total.error += error;
    total.warning += warning;
    total.other += other;
  }
  return total;
}
