import type { HealthState } from '@/api/types';
import { useText } from '@/i18n/language';
import { shownName } from '@/lib/name';
import { visibleText } from '../text/visible';
import { CARD, type Placed, ROW } from './layout';
import { below, type Given, type Model, type Place } from './model';
import texts from './text';
import css from './topology.module.css';

type Props = { placed: Placed; model: Model; tabIndex: number; onFocus: () => void; onOpen: () => void; onGo: () => void };

const HIGH = ROW - 6;
/** Letters of a name that have room. */
const ROOM = 24;

/** A device, or several that are drawn as one. */
export function Card({ placed: { row, x, y }, model, tabIndex, onFocus, onOpen, onGo }: Props) {
  const t = useText(texts);
  const place = row.kind === 'device' ? row.place : undefined;
  const name = place ? visibleText(shownName(place.given)) : '';
  const isOpen = row.kind === 'device' && row.opens ? row.isOpen : undefined;
  return (
    <>
      <g
        role="treeitem"
        data-id={row.id}
        tabIndex={tabIndex}
        aria-level={row.depth + 1}
        aria-expanded={row.kind === 'bundle' ? false : isOpen}
        aria-selected={tabIndex === 0}
        aria-label={row.kind === 'bundle' ? t('bundleLabel', { n: row.devices.length }) : place && label(t, place)}
        transform={`translate(${x} ${y})`}
        className={`${css.card} ${place ? (css[look(place)] ?? '') : css.bundle}`}
        onFocus={onFocus}
        onClick={onGo}
      >
        <rect width={CARD} height={HIGH} rx={6} className={css.back} />
        {place ? <Shape health={place.cutBy ? 'Cut' : place.given.health} /> : <path d="M8 8h10M8 12h10M8 16h10" className={css.stack} />}
        <text x={28} y={HIGH / 2 + 4} className={css.name}>
          {place ? (name.length > ROOM ? `${name.slice(0, ROOM - 1)}…` : name) : row.kind === 'bundle' && t('moreHealthy', { n: row.devices.length })}
          {place && name.length > ROOM && <title>{label(t, place)}</title>}
        </text>
        {place && <Type type={place.given.type} x={CARD - (isOpen === undefined ? 22 : 44)} />}
        {row.kind === 'device' && isOpen !== undefined && (
          // biome-ignore lint/a11y/noStaticElementInteractions: for the pointer only; Space does the same on the row itself
          <g
            className={css.fold}
            onClick={(event) => {
              event.stopPropagation();
              onOpen();
            }}
          >
            <rect x={CARD - 24} width={24} height={HIGH} rx={6} className={css.foldBack} />
            <path d={isOpen ? `M${CARD - 17} ${HIGH / 2 - 2}l5 5l5 -5` : `M${CARD - 14} ${HIGH / 2 - 5}l5 5l-5 5`} className={css.caret} />
            <title>{isOpen ? t('close') : `${t('open')}: ${t('behind', { n: below(model, row.id).length - 1 })}`}</title>
          </g>
        )}
      </g>
      {place && place.given.alerts > 0 && <Bell alerts={place.given.alerts} x={x + CARD - (isOpen === undefined ? 50 : 72)} y={y} />}
    </>
  );
}

type Say = (key: keyof typeof texts & string, values?: Record<string, string | number>) => string;

function label(t: Say, { given, cutBy }: Place): string {
  const known = { name: visibleText(shownName(given)), type: given.type in texts ? t(given.type) : given.type };
  if (cutBy) return t('cutLabel', { ...known, root: visibleText(cutBy.replace(/^default\//, '')) });
  const health = given.health in texts ? t(given.health) : given.health;
  return t('label', { ...known, health, alerts: t('alerts', { n: given.alerts }) });
}

function look({ given, cutBy }: Place): 'good' | 'warn' | 'bad' | 'calm' | 'cut' {
  if (cutBy) return 'cut';
  return ({ Healthy: 'good', Degraded: 'warn', Unreachable: 'bad', Unknown: 'calm' } as const)[given.health] ?? 'calm';
}

/** Each state has a shape of its own: a disc, a triangle, a square with a cross, a ring with a question mark, and a broken ring behind a dead one. */
function Shape({ health }: { health: HealthState | 'Cut' }) {
  const [x, y] = [14, HIGH / 2];
  switch (health) {
    case 'Healthy':
      return <path d={`M${x - 5} ${y}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0m2.3 .2l2 2l3.5 -4`} className={css.disc} />;
    case 'Degraded':
      return <path d={`M${x} ${y - 6}l6.2 11h-12.400zm0 4v3.300m0 1.300v.8`} className={css.disc} />;
    case 'Unreachable':
      return <path d={`M${x - 5.5} ${y - 5.5}h11v11h-11zm3 3l5 5m0 -5l-5 5`} className={css.disc} />;
    case 'Cut':
      return <path d={`M${x - 5} ${y}a5 5 0 0 1 7 -4.600M${x + 5} ${y}a5 5 0 0 1 -7 4.600M${x - 6} ${y + 6}l12 -12`} className={css.ring} />;
    case 'Unknown':
      return <path d={`M${x - 5.5} ${y}a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0 -11 0m3.8 -1.500q.2 -1.7 1.7 -1.700q1.6 0 1.6 1.500q0 1 -1.6 1.700v.6m0 1.500v.7`} className={css.ring} />;
  }
}

function Type({ type, x }: { type: Given['type']; x: number }) {
  const y = HIGH / 2;
  const paths = {
    Server: `M${x} ${y - 5}h12v4h-12zm0 6h12v4h-12zm2 -4h1m-1 6h1`,
    Network: `M${x} ${y + 1}h12v4h-12zm2 2h1m2 0h1M${x + 6} ${y + 1}v-4m-4 0h8m-8 0v-2m8 2v-2`,
    Storage: `M${x} ${y - 4}q6 -3 12 0v8q-6 3 -12 0zq6 3 12 0m-12 4q6 3 12 0`,
  };
  return <path d={paths[type] ?? paths.Server} className={css.type} />;
}

/** Beside the device's group and not in it: what it says is in the device's own label, in words. */
function Bell({ alerts, x, y }: { alerts: number; x: number; y: number }) {
  return (
    // biome-ignore lint/a11y/noAriaHiddenOnFocusable: a group takes no focus
    <g className={css.bell} aria-hidden="true">
      <rect x={x} y={y + HIGH / 2 - 8} width={22} height={16} rx={8} />
      <text x={x + 11} y={y + HIGH / 2 + 4} textAnchor="middle">{alerts > 99 ? '99+' : alerts}</text>
    </g>
  );
}
