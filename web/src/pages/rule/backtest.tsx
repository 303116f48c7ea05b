/** What a rule would have done, over what is stored: in force, or another one that is tried. */
import { Alert, Button, Input, Progress } from 'antd';
import { useRef, useState } from 'react';
import { call, Refused } from '@/api/http';
import { Act, Name, Problem, Time } from '@/components';
import { EditDrawer, type Editing, Findings } from '@/components/object-editor';
import { readFinding } from '@/components/object-editor/yaml';
import { useLanguage, useText } from '@/i18n/language';
import { fullName } from '@/lib/name';
import { clock, span } from '@/lib/time';
import { type BacktestAnswer, type Course, joined, lengthOf, spanOf, strip, type Summary, summarize } from '../rules/backtest';
import texts from '../rules/text';
import type { AlertRule } from '../rules/types';
import { visibleText } from '../text/visible';

/** Days of which readings are kept. */
const DAYS = 30;
/** Devices whose firings are drawn. */
const DRAWN = 50;
/** Where more than this share of the time is unknown, that nothing fired says nothing. */
const MOSTLY = 0.9;
/** Pages that are asked for without a further word: of a large fleet there are very many. */
const PAGES = 20;

interface Ran {
  answer: BacktestAnswer;
  from: number;
  to: number;
}

export function Backtest({ rule }: { rule: AlertRule }) {
  const t = useText(texts);
  const [expr, setExpr] = useState(rule.spec.expr);
  const [since, setSince] = useState('7d');
  const [ran, setRan] = useState<Ran>();
  const [error, setError] = useState<Refused>();
  const [busy, setBusy] = useState(false);
  const [editing, setEditing] = useState<Editing>();
  const stop = useRef<AbortController>(undefined);
  const seconds = spanOf(since);
  const isWrong = seconds === undefined || seconds > DAYS * 86_400 || seconds === 0;
  const isOther = expr.trim() !== rule.spec.expr.trim();
  const named = { namespace: rule.metadata.namespace ?? 'default', name: rule.metadata.name };

  const run = async (before?: Ran) => {
    if (isWrong) return;
    stop.current?.abort();
    const mine = new AbortController();
    stop.current = mine;
    setBusy(true);
    setError(undefined);
    if (!before) setRan(undefined);
    try {
      let all = before;
      for (let page = 0; page < PAGES; page += 1) {
        const body = { rule: fullName(named), since, ...(isOther && { expr }), ...(all?.answer.next && { after: all.answer.next }) };
        const answer = await call<BacktestAnswer>('POST', '/backtest', { body, signal: mine.signal });
        const to = all?.to ?? secondsOf(answer.to) ?? Math.floor(Date.now() / 1000);
        const from = all?.from ?? secondsOf(answer.from) ?? to - (seconds ?? 0);
        all = { answer: joined(all?.answer, answer), from, to };
        setRan(all);
        if (!answer.next) break;
      }
    } catch (problem) {
      if (mine.signal.aborted) return;
      if (!(problem instanceof Refused)) throw problem;
      setError(problem);
    } finally {
      if (stop.current === mine) setBusy(false);
    }
  };
  const findings = error?.problem.errors?.map((one) => readFinding(one, '')) ?? [];
  return (
    <div className="backtest">
      <div className="backtest-expr">
        <span>{t('tryExpr')}</span>
        <Input.TextArea aria-label={t('tryExpr')} rows={3} spellCheck={false} maxLength={2048} value={expr} onChange={(event) => setExpr(event.target.value)} className="rule-code" />
      </div>
      <div className="backtest-row">
        <span>
          {t('since')} <Input aria-label={t('since')} className="backtest-since" value={since} status={isWrong ? 'error' : ''} onChange={(event) => setSince(event.target.value)} onPressEnter={() => void run()} />
        </span>
        {isWrong && <span className="backtest-wrong">{t('badSince')}</span>}
        <Button type="primary" loading={busy} disabled={isWrong || expr.trim() === ''} onClick={() => void run()}>
          {t('run')}
        </Button>
        {isOther && <Button onClick={() => setExpr(rule.spec.expr)}>{t('reset')}</Button>}
        <span className="ek-dim">{isOther ? t('other') : t('asForce')}</span>
      </div>
      {error && (findings.length > 0 ? <Findings findings={findings} /> : <Problem error={error} />)}
      {busy && !ran && <p className="ek-dim">{t('running')}</p>}
      {ran && <Outcome ran={ran} busy={busy} onGoOn={() => void run(ran)} />}
      {ran && isOther && (
        <div className="backtest-row">
          <span className="ek-dim">{t('saveHint')}</span>
          <Act verb="edit" kind="AlertRule" {...named} onAct={() => setEditing({ plural: 'alertrules', name: named, change: (object) => withExpr(object, expr) })}>
            {t('useIt')}
          </Act>
        </div>
      )}
      <EditDrawer editing={editing} onClose={() => setEditing(undefined)} />
    </div>
  );
}

function withExpr(object: object, expr: string): object {
  const spec = (object as { spec?: object }).spec ?? {};
  return { ...object, spec: { ...spec, expr } };
}

function secondsOf(at: string | number | undefined): number | undefined {
  if (typeof at === 'number') return at;
  const parsed = at ? Date.parse(at) / 1000 : Number.NaN;
  return Number.isNaN(parsed) ? undefined : parsed;
}

function Outcome({ ran, busy, onGoOn }: { ran: Ran; busy: boolean; onGoOn: () => void }) {
  const t = useText(texts);
  const { answer, from, to } = ran;
  const summary = summarize(answer, from, to);
  const isPartial = Boolean(answer.next);
  return (
    <div className="backtest-outcome" aria-live="polite">
      {isPartial && (
        <div className="backtest-row">
          <Progress percent={Math.round((answer.devices.length / Math.max(1, answer.selected)) * 100)} size="small" className="backtest-progress" />
          <span className="ek-dim">{t('partial', { seen: answer.devices.length, of: answer.selected })}</span>
          {!busy && <Button size="small" onClick={onGoOn}>{t('goOn')}</Button>}
        </div>
      )}
      <p className="backtest-headline">{summary.firings === 0 && summary.unknownShare > MOSTLY ? t('cannotSay', { share: `${Math.round(summary.unknownShare * 100)} %` }) : summary.firings > 0 ? t('would', { n: summary.firings, d: summary.devices, of: summary.of }) : t('wouldNot', { n: answer.devices.length })}</p>
      <Numbers summary={summary} />
      {answer.notKept && answer.notKept.length > 0 && <Alert type="warning" showIcon title={t('notKept', { what: [...new Set(answer.notKept)].map((one) => visibleText(one)).join(', ') })} />}
      {answer.asOfToday === true && <p className="ek-dim">{t('asOfToday')}</p>}
      {summary.worst.length > 0 && <Strips courses={summary.worst} from={from} to={to} />}
      {typeof answer.readings === 'number' && <p className="ek-dim">{t('readings', { n: answer.readings })}</p>}
    </div>
  );
}

function Numbers({ summary }: { summary: Summary }) {
  const t = useText(texts);
  const { language } = useLanguage();
  const length = (seconds: number) => span(seconds, language);
  const share = summary.fired > 0 ? `${Math.round((summary.inRollouts / summary.fired) * 100)} %` : '–';
  const numbers: [string, string][] = [
    [t('fired'), length(summary.fired)],
    [t('typical'), summary.firings > 0 ? length(summary.typical) : '–'],
    [t('every'), summary.every === undefined ? '–' : length(summary.every)],
    [t('inRollouts'), `${share}${summary.inRollouts > 0 ? ` (${length(summary.inRollouts)})` : ''}`],
    [t('unknown'), length(summary.unknown)],
  ];
  return (
    <dl className="backtest-numbers">
      {numbers.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd className="ek-num">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Strips({ courses, from, to }: { courses: Course[]; from: number; to: number }) {
  const t = useText(texts);
  const { language } = useLanguage();
  return (
    <div className="strips">
      {courses.slice(0, DRAWN).map((course) => (
        <div key={course.device} className="strip-row">
          <Name kind="Device" of={course.device} />
          <span className="ek-num strip-count">
            {course.firings.length + course.more}×{course.cut && <span className="ek-dim"> {t('cut')}</span>}
          </span>
          <div className="strip" role="img" aria-label={t('strip', { device: visibleText(course.device), n: course.firings.length + course.more })}>
            {strip(course, from, to).map(({ start, width, firing }, index) => (
              <span
                key={index}
                className={firing.inRollouts > 0 ? 'strip-rollout' : ''}
                style={{ left: `${start * 100}%`, width: `${width * 100}%` }}
                title={t('firingFrom', { from: clock(firing.from), length: firing.to ? span(lengthOf(firing, to), language) : t('still'), value: firing.value ?? '–' })}
              />
            ))}
          </div>
          <span className="ek-num ek-dim strip-length">{span(course.fired, language)}</span>
        </div>
      ))}
      <div className="strip-row strip-axis ek-dim">
        <span />
        <span />
        <span className="strip-ends">
          <Time at={from} />
          <Time at={to} />
        </span>
        <span />
      </div>
      {courses.length > DRAWN && <p className="ek-dim">{t('nMore', { n: courses.length - DRAWN })}</p>}
    </div>
  );
}
