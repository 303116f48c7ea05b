import { MinusOutlined, PlusOutlined, ExpandOutlined } from '@ant-design/icons';
import { Button } from 'antd';
import { type KeyboardEvent, type PointerEvent, useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { useNavigate } from 'react-router';
import { useText } from '@/i18n/language';
import { pathOf } from '@/lib/name';
import { useSize } from '../text/size';
import { Card } from './Card';
import { type Eye, follow, HEAD, layout, seeAll, step, zoom } from './layout';
import { count, type Model, type Row } from './model';
import texts from './text';
import css from './topology.module.css';

type Props = {
  model: Model;
  sites: { site: string; all: string[]; rows: Row[] }[];
  /** What is to be looked at. */
  sought: { id: string; at: number } | undefined;
  onOpen: (id: string, isOpen: boolean) => void;
};

/** Pixels that a pointer may move and still have clicked. */
const STILL = 4;
/** How much a step of the wheel or a key makes larger. */
const NEARER = 1.2;

/** The drawing: moved by dragging, made larger by the wheel with Ctrl or by keys, walked through by arrows. */
export function Paper({ model, sites, sought, onOpen }: Props) {
  const t = useText(texts);
  const go = useNavigate();
  const [ref, { width, height }] = useSize<HTMLDivElement>();
  const [eye, setEye] = useState<Eye>();
  const [focus, setFocus] = useState<string>();
  const drag = useRef<{ x: number; y: number; eye: Eye; moved: boolean } | undefined>(undefined);
  const svg = useRef<SVGSVGElement>(null);
  const ratio = Math.round((width / Math.max(1, height)) * 10) / 10;
  const drawing = useMemo(() => layout(model, sites, ratio || 2), [model, sites, ratio]);
  const placed = useMemo(() => new Map(drawing.boxes.flatMap((box) => box.rows.map((row) => [row.row.id, row] as const))), [drawing]);
  const seen = eye ?? (width > 0 ? seeAll(drawing, width, height) : { x: 0, y: 0, scale: 1 });
  const reachable = focus !== undefined && placed.has(focus) ? focus : drawing.boxes[0]?.rows[0]?.row.id;

  const visit = useCallback(
    (id: string) => {
      const row = placed.get(id);
      if (!row) return;
      setFocus(id);
      setEye((before) => follow(before ?? seen, row, width, height));
      requestAnimationFrame(() => svg.current?.querySelector<SVGGElement>(`[data-id="${CSS.escape(id)}"]`)?.focus({ preventScroll: true }));
    },
    [placed, seen, width, height],
  );
  // Only when somebody asks for it anew: what is drawn changes more often.
  const asked = useRef(0);
  useEffect(() => {
    if (sought && sought.at !== asked.current) {
      asked.current = sought.at;
      visit(sought.id);
    }
  }, [sought, visit]);

  const nearer = (by: number): void => setEye(zoom(seen, by, width / 2, height / 2));
  // React listens to the wheel passively, and the page must not become larger with the drawing.
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    const onWheel = (event: WheelEvent): void => {
      if (!event.ctrlKey && !event.metaKey && !event.shiftKey) return;
      event.preventDefault();
      const box = element.getBoundingClientRect();
      setEye((before) => zoom(before ?? seen, event.deltaY < 0 ? NEARER : 1 / NEARER, event.clientX - box.left, event.clientY - box.top));
    };
    element.addEventListener('wheel', onWheel, { passive: false });
    return () => element.removeEventListener('wheel', onWheel);
  }, [ref, seen]);

  const act = (row: Row): void => {
    if (row.kind === 'bundle') onOpen(row.id, true);
    else if (row.opens) onOpen(row.id, !row.isOpen);
  };
  const onKey = (event: KeyboardEvent<SVGSVGElement>): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const row = reachable === undefined ? undefined : placed.get(reachable)?.row;
    const way = ({ ArrowUp: 'up', ArrowDown: 'down', ArrowLeft: 'left', ArrowRight: 'right', Home: 'first', End: 'last' } as const)[event.key];
    if (way) {
      const closed = row?.kind === 'device' && row.opens && !row.isOpen;
      const isOpen = row?.kind === 'device' && row.isOpen;
      const to = step(drawing.boxes, reachable, way);
      if (row && way === 'right' && closed) act(row);
      else if (row && way === 'left' && to === undefined && isOpen) act(row);
      else if (to !== undefined) visit(to);
    } else if (event.key === ' ' && row) act(row);
    else if (event.key === 'Enter' && row) {
      if (row.kind === 'device') void go(`/devices/${pathOf(row.place.given)}`);
      else act(row);
    } else if (event.key === '+' || event.key === '=') nearer(NEARER);
    else if (event.key === '-') nearer(1 / NEARER);
    else if (event.key === '0') setEye(seeAll(drawing, width, height));
    else return;
    event.preventDefault();
  };
  const onDown = (event: PointerEvent<SVGSVGElement>): void => {
    if (event.button === 0) drag.current = { x: event.clientX, y: event.clientY, eye: seen, moved: false };
  };
  const onMove = (event: PointerEvent<SVGSVGElement>): void => {
    const from = drag.current;
    if (!from || event.buttons === 0) return;
    const [x, y] = [event.clientX - from.x, event.clientY - from.y];
    if (!from.moved && Math.hypot(x, y) < STILL) return;
    if (!from.moved) event.currentTarget.setPointerCapture(event.pointerId);
    from.moved = true;
    setEye({ ...from.eye, x: from.eye.x + x, y: from.eye.y + y });
  };
  const hasMoved = (): boolean => drag.current?.moved === true;

  return (
    <div className={css.map}>
      <div ref={ref} className={css.paper}>
        <svg
          ref={svg}
          width={width}
          height={height}
          // biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: the drawing is the tree; nothing in HTML is both
          role="tree"
          aria-label={t('tree')}
          aria-describedby="ek-topology-help"
          className={css.drawing}
          onKeyDown={onKey}
          onPointerDown={onDown}
          onPointerMove={onMove}
          onPointerUp={() => window.setTimeout(() => (drag.current = undefined))}
        >
          <g transform={`translate(${seen.x} ${seen.y}) scale(${seen.scale})`}>
            {drawing.boxes.map((box, number) => (
              <SiteBox key={box.site} box={box} model={model} all={sites[number]?.all ?? []} />
            ))}
            {drawing.lines.map((line) => (
              <path key={line.id} d={line.path} className={line.isOther ? css.other : isCut(model, line.to) ? css.dead : css.way} />
            ))}
            {drawing.boxes.flatMap((box) =>
              box.rows.map((row) => (
                <Card
                  key={row.row.id}
                  placed={row}
                  model={model}
                  tabIndex={row.row.id === reachable ? 0 : -1}
                  onFocus={() => setFocus(row.row.id)}
                  onOpen={() => !hasMoved() && act(row.row)}
                  onGo={() => {
                    if (hasMoved()) return;
                    if (row.row.kind === 'device') void go(`/devices/${pathOf(row.row.place.given)}`);
                    else act(row.row);
                  }}
                />
              )),
            )}
          </g>
        </svg>
        <div className={css.zoom}>
          <Button size="small" icon={<PlusOutlined />} aria-label={t('larger')} title={t('larger')} onClick={() => nearer(NEARER)} />
          <Button size="small" icon={<MinusOutlined />} aria-label={t('smaller')} title={t('smaller')} onClick={() => nearer(1 / NEARER)} />
          <Button size="small" icon={<ExpandOutlined />} aria-label={t('seeAll')} title={t('seeAll')} onClick={() => setEye(seeAll(drawing, width, height))} />
        </div>
      </div>
      <p id="ek-topology-help" className={css.help}>
        {t('help')}
        {drawing.lines.some((line) => line.isOther) && ` ${t('other')}.`}
      </p>
    </div>
  );
}

function isCut(model: Model, id: string): boolean {
  return model.places.get(id)?.cutBy !== undefined;
}

function SiteBox({ box, model, all }: { box: ReturnType<typeof layout>['boxes'][number]; model: Model; all: string[] }) {
  const t = useText(texts);
  const counted = count(model, all);
  const ill = counted.Degraded + counted.Unreachable + counted.Unknown;
  return (
    <g>
      <rect x={box.x} y={box.y} width={box.width} height={box.height} rx={10} className={css.site} />
      <text x={box.x + 14} y={box.y + HEAD - 13} className={css.siteName}>{box.site || t('noSite')}</text>
      <text x={box.x + box.width - 14} y={box.y + HEAD - 13} textAnchor="end" className={css.siteCount}>
        {t('devices', { n: all.length })}
        {ill > 0 ? ` · ${t('notWell')} ${ill}` : ''}
      </text>
    </g>
  );
}
