import { Tooltip } from 'antd';
import { useGet } from '@/api/query';
import type { List, ProbeHistory, ProbeStatus } from '@/api/types';
import { Nothing, Part, ProbeState, Time, useNow } from '@/components';
import words from '@/components/text';
import { useText } from '@/i18n/language';
import { type Named, pathOf } from '@/lib/name';
import { clock, utc } from '@/lib/time';
import { share } from '@/lib/units';
import { type Piece, pieces, shares } from './strip';
import texts from './text';

const DAY = 86_400_000;

/** Probes as they are now, each with the strip of its last day. */
export function Probes({ named, now }: { named: Named; now: readonly ProbeStatus[] }) {
  const t = useText(texts);
  const seen = useNow();
  const read = useGet<List<ProbeHistory>>(`/devices/${pathOf(named)}/probes`, { since: '24h' }, { refetchInterval: 60_000 });
  const probes: (ProbeStatus & Partial<ProbeHistory>)[] = now.map((probe) => ({ ...read.data?.items.find(({ name }) => name === probe.name), ...probe }));
  if (probes.length === 0) return <Part title={t('probes')}><Nothing title={t('noProbes')} hint={t('noProbesHint')} /></Part>;
  return (
    <Part title={t('probes')} extra={<span className="ek-dim">{t('last24')}</span>} flush>
      <ul className="ek-rows">
        {probes.map((probe) => (
          <li key={probe.name} className="ek-probe">
            <span className="ek-row-sign"><ProbeState value={probe.state} /></span>
            <span className="ek-probe-name"><b>{probe.name}</b> <span className="ek-dim">{probe.kind}</span></span>
            {probe.history ? <Strip strip={pieces(probe.history, seen - DAY, seen)} /> : <span className="ek-strip" />}
            <span className="ek-row-more ek-probe-since"><span>{t('since')} <Time at={probe.since} relative /></span></span>
            {probe.reason && <span className="ek-probe-why ek-pre">{probe.reason}</span>}
          </li>
        ))}
      </ul>
    </Part>
  );
}

function Strip({ strip }: { strip: readonly Piece[] }) {
  const t = useText(texts);
  const w = useText(words);
  const sum = shares(strip);
  return (
    <span className="ek-strip" role="img" aria-label={t('share', { ok: share(sum.ok, 1), fail: share(sum.fail, 1), unknown: share(sum.unknown, 1) })}>
      {strip.map((piece) => (
        <Tooltip key={piece.from} title={<span className="ek-num">{`${w(piece.state)} · ${clock(piece.from)} – ${clock(piece.to)}`}<br />{`${clock(piece.from, 'UTC')} – ${utc(piece.to)}`}{piece.reason && <><br />{piece.reason}</>}</span>}>
          <i className={`ek-strip-${piece.state}`} style={{ flexGrow: piece.share * 1000 }} />
        </Tooltip>
      ))}
    </span>
  );
}
