/** The rollout as lanes: a lane for each batch, a cell for each of its devices. */
import {
  CheckOutlined, ClockCircleOutlined, CloseOutlined, EyeOutlined, LoadingOutlined, MinusOutlined, PoweroffOutlined, QuestionOutlined, RollbackOutlined,
  SafetyOutlined, ToolOutlined,
} from '@ant-design/icons';
import { Button } from 'antd';
import { type KeyboardEvent, type ReactNode, useState } from 'react';
import { Link } from 'react-router';
import { placeOf, Sign, Time } from '@/components';
import { useLanguage, useText } from '@/i18n/language';
import { parseName } from '@/lib/name';
import { ago } from '@/lib/time';
import type { Cell, Lane, LaneState, Tone } from '../deployments/lanes';
import type { Phase } from '../deployments/types';
import { visibleText } from '../text/visible';
import texts from './text';
import { useSeconds } from './tick';
import { countdown, secondsLeft, share } from './words';
import './lanes.css';

const SIGN: Record<Phase, ReactNode> = {
  waiting: <MinusOutlined />,
  preparing: <SafetyOutlined />,
  prepared: <ClockCircleOutlined />,
  applying: <LoadingOutlined />,
  applied: <CheckOutlined />,
  rebooting: <PoweroffOutlined />,
  failed: <CloseOutlined />,
  restoring: <RollbackOutlined />,
  restored: <RollbackOutlined />,
  removing: <ToolOutlined />,
};

const LANE: Record<LaneState, { tone: 'good' | 'busy' | 'warn' | 'bad' | 'calm'; sign: ReactNode }> = {
  planned: { tone: 'calm', sign: <MinusOutlined /> },
  moving: { tone: 'busy', sign: <LoadingOutlined /> },
  watched: { tone: 'busy', sign: <EyeOutlined /> },
  good: { tone: 'good', sign: <CheckOutlined /> },
  failed: { tone: 'bad', sign: <CloseOutlined /> },
  back: { tone: 'bad', sign: <RollbackOutlined /> },
};

/** Cells of a lane that are shown before somebody asks for the others. */
const MOST = 400;
const URGENCY: Record<Tone, number> = { bad: 0, back: 1, moving: 2, waiting: 3, good: 4 };

const phaseKey = (phase: Phase) => (phase === 'failed' ? 'failedDevice' : phase);

interface Tip {
  cell: Cell;
  x: number;
  y: number;
}

export function Lanes({ lanes, toCome, batches }: { lanes: Lane[]; toCome: number; batches: string }) {
  const t = useText(texts);
  const [tip, setTip] = useState<Tip>();
  const used = new Set(lanes.flatMap((lane) => lane.cells.map((cell) => cell.phase)));
  return (
    <div className="lanes">
      {lanes.map((lane) => (
        <LaneRow key={lane.batch} lane={lane} onTip={setTip} />
      ))}
      {toCome > 0 && (
        <section className="lane lane-planned" aria-label={t('toCome')}>
          <header className="lane-head">
            <strong>{t('toCome')}</strong>
            <span className="ek-dim">{batches}</span>
          </header>
          <div className="lane-body ek-dim">{t('toComeHint', { n: toCome })}</div>
        </section>
      )}
      <div className="lanes-legend">
        {[...used].map((phase) => (
          <span key={phase} className="lanes-key">
            <span className={`cell cell-${phase === 'failed' ? 'bad' : ''} cell-of-${phase}`} aria-hidden>
              {SIGN[phase]}
            </span>
            {t(phaseKey(phase))}
          </span>
        ))}
        <span className="lanes-hint">{t('keys')}</span>
      </div>
      {tip && <TipBox tip={tip} />}
    </div>
  );
}

function LaneRow({ lane, onTip }: { lane: Lane; onTip: (tip: Tip | undefined) => void }) {
  const t = useText(texts);
  const [all, setAll] = useState(false);
  const [at, setAt] = useState(0);
  // Where not all fit, those come first that somebody has to look at.
  const ordered = lane.cells.length > MOST ? [...lane.cells].sort((a, b) => URGENCY[a.tone] - URGENCY[b.tone]) : lane.cells;
  const shown = all ? ordered : ordered.slice(0, MOST);
  const done = lane.counts.good;
  const go = (event: KeyboardEvent<HTMLUListElement>) => {
    const links = [...event.currentTarget.querySelectorAll<HTMLAnchorElement>('a')];
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -links.length, End: links.length }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = Math.min(links.length - 1, Math.max(0, at + step));
    setAt(next);
    links[next]?.focus();
  };
  return (
    <section className={`lane lane-${lane.state}`} aria-label={t('batch', { n: lane.batch })}>
      <header className="lane-head">
        <div className="lane-title">
          <strong>{t('batch', { n: lane.batch })}</strong>
          <Sign tone={LANE[lane.state].tone} sign={LANE[lane.state].sign} bare>{t(lane.state)}</Sign>
        </div>
        <span className="ek-num">
          {done} / {lane.cells.length + lane.more}
          {lane.counts.bad > 0 && <span className="lane-bad"> ✕ {lane.counts.bad}</span>}
          {lane.counts.back > 0 && <span className="lane-bad"> ↩ {lane.counts.back}</span>}
          {lane.openedAt && (
            <span className="ek-dim">
              {' '}· <Time at={lane.openedAt} relative />
            </span>
          )}
        </span>
        {lane.takesRest && <span className="ek-dim">{t('takesRest')}</span>}
      </header>
      <div className="lane-body">
        <ul className="cells" onKeyDown={go}>
          {shown.map((cell, index) => (
            <li key={cell.device}>
              <CellLink cell={cell} isReached={index === Math.min(at, shown.length - 1)} onTip={onTip} onFocus={() => setAt(index)} />
            </li>
          ))}
        </ul>
        {ordered.length > shown.length && (
          <Button size="small" type="link" onClick={() => setAll(true)}>
            {t('moreCells', { n: ordered.length - shown.length })}
          </Button>
        )}
        {lane.more > 0 && <span className="ek-dim">{t('beyond', { n: lane.more })}</span>}
        <Gates lane={lane} />
      </div>
    </section>
  );
}

function CellLink({ cell, isReached, onTip, onFocus }: { cell: Cell; isReached: boolean; onTip: (tip: Tip | undefined) => void; onFocus: () => void }) {
  const t = useText(texts);
  const show = (element: HTMLElement) => {
    const box = element.getBoundingClientRect();
    onTip({ cell, x: box.left + box.width / 2, y: box.bottom });
  };
  const words = [visibleText(cell.device), t(phaseKey(cell.phase)), cell.problem && visibleText(cell.problem), cell.gate && visibleText(cell.gate), cell.wait && visibleText(cell.wait.text)].filter(Boolean).join(', ');
  return (
    <Link
      to={placeOf('Device', parseName(cell.device)) ?? '#'}
      className={`cell cell-${cell.tone} cell-of-${cell.phase}`}
      tabIndex={isReached ? 0 : -1}
      aria-label={words}
      onMouseEnter={(event) => show(event.currentTarget)}
      onMouseLeave={() => onTip(undefined)}
      onFocus={(event) => {
        onFocus();
        show(event.currentTarget);
      }}
      onBlur={() => onTip(undefined)}
    >
      {SIGN[cell.phase] ?? <QuestionOutlined />}
    </Link>
  );
}

function TipBox({ tip: { cell, x, y } }: { tip: Tip }) {
  const t = useText(texts);
  const { language } = useLanguage();
  const side = x > window.innerWidth - 340 ? 'lane-tip-left' : '';
  return (
    <div className={`lane-tip ${side}`} style={{ left: x, top: y + 6 }} aria-hidden>
      <strong>{visibleText(cell.device)}</strong>
      <span>
        {t(phaseKey(cell.phase))}
        {cell.since && <span className="ek-dim"> · {ago(cell.since, Date.now(), language)}</span>}
      </span>
      {cell.problem && <span className="lane-bad">{visibleText(cell.problem)}</span>}
      {cell.gate && <span>{t('gate')}: {visibleText(cell.gate)}</span>}
      {cell.wait && <span>{visibleText(cell.wait.text)}</span>}
      {cell.step && <code className="ek-dim">{cell.step}</code>}
    </div>
  );
}

/** What the gate says of devices, those first that somebody has to look at. */
const JUDGED = ['failed', 'lost', 'unproven', 'away', 'waiting', 'changing', 'pending', 'passed'] as const;

const GATE = {
  passed: { tone: 'good', sign: <CheckOutlined />, word: 'passed' },
  waiting: { tone: 'busy', sign: <LoadingOutlined />, word: 'waitingGate' },
  failed: { tone: 'bad', sign: <CloseOutlined />, word: 'failedGate' },
  unknown: { tone: 'calm', sign: <QuestionOutlined />, word: 'unknownGate' },
} as const;

function Gates({ lane }: { lane: Lane }) {
  const t = useText(texts);
  const now = useSeconds(lane.soakUntil !== undefined);
  const left = secondsLeft(lane.soakUntil, now);
  const others = lane.gates.filter((gate) => !(gate.kind === 'soak' && lane.soakUntil));
  if (others.length === 0 && left === undefined) return null;
  return (
    <div className="gates">
      {others.map((gate, index) => {
        const look = GATE[gate.state];
        const kind = gate.kind in texts ? t(gate.kind as keyof typeof texts) : visibleText(gate.kind);
        return (
          <span key={index} className="gate" title={gate.text ? visibleText(gate.text) : undefined}>
            <Sign tone={look.tone} sign={look.sign} bare>
              {kind}: {t(look.word)}
            </Sign>
            {gate.text && gate.state !== 'passed' && <span className="ek-dim gate-text">{visibleText(gate.text)}</span>}
            {gate.counts && gate.state === 'waiting' && (
              <span className="ek-dim">{JUDGED.filter((word) => gate.counts?.[word]).map((word) => t(`judged_${word}`, { n: gate.counts?.[word] ?? 0 })).join(' · ')}</span>
            )}
          </span>
        );
      })}
      {left !== undefined && lane.soakUntil && (
        <span className="gate gate-soak" role="timer" aria-label={`${t('soak')}: ${countdown(left)}`}>
          <Sign tone="busy" sign={<EyeOutlined />} bare>{t('soak')}</Sign>
          <span className="gate-bar" aria-hidden>
            <span style={{ width: `${share(lane.openedAt, lane.soakUntil, now) * 100}%` }} />
          </span>
          <span className="ek-num">{left > 0 ? t('left', { left: countdown(left) }) : t('over')}</span>
        </span>
      )}
    </div>
  );
}
