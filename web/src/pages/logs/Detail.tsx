import { App, Button } from 'antd';
import type { ReactNode } from 'react';
import { useNavigate } from 'react-router';
import { Name, Time } from '@/components';
import { useText } from '@/i18n/language';
import { Said } from '../text/Said';
import type { Filters } from './filters';
import css from './logs.module.css';
import { facilityOf, type LogLine, severityOf } from './model';
import texts from './text';

/** Milliseconds before and after a line that are shown around it. */
const AROUND = 5 * 60_000;

/** All that is known of a line, and where to go from it. */
export function Detail({ line, onSet }: { line: LogLine; onSet: (next: Partial<Filters>) => void }) {
  const t = useText(texts);
  const { message } = App.useApp();
  const go = useNavigate();
  const facility = typeof line.facility === 'number' ? facilityOf(line.facility) : (line.facility ?? '');
  const all: [keyof typeof texts, ReactNode][] = [
    ['received', <Time key="v" at={line.received} />],
    ['sent', line.sent && <Time key="v" at={line.sent} />],
    ['device', line.device ? <Name key="v" kind="Device" of={line.device} /> : t('unknownSender')],
    ['host', line.host && <Said key="v" text={line.host} />],
    ['address', line.address && <code key="v"><Said text={line.address} /></code>],
    ['severity', `${t(severityOf(line.severity))} (${line.severity})`],
    ['facility', facility && <Said key="v" text={facility} />],
    ['program', line.program && <Said key="v" text={line.program} />],
    ['process', line.process && <Said key="v" text={line.process} />],
    ['kindField', line.kind && <Said key="v" text={line.kind} />],
    ['kindOfLine', line.template && <code key="v"><Said text={String(line.template)} /></code>],
    ['fields', fields(line.fields)],
    ['number', <span key="v" className="ek-num">{line.number}</span>],
  ];
  const near = (): void => {
    const at = Date.parse(line.received);
    onSet({ q: '', severity: '', program: '', template: '', device: line.device, range: { since: new Date(at - AROUND).toISOString(), until: new Date(at + AROUND).toISOString() } });
  };
  const copy = (): void => {
    void navigator.clipboard.writeText(JSON.stringify(line, undefined, 2)).then(() => message.success(t('copied')));
  };
  return (
    <div className={css.detail}>
      <dl>
        {all
          .filter(([, value]) => value)
          .map(([key, value]) => (
            <div key={key}>
              <dt>{t(key)}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
      <div className={css.deeds}>
        {line.template && <Button size="small" onClick={() => onSet({ template: String(line.template) })}>{t('moreLikeThis')}</Button>}
        <Button size="small" onClick={near}>{t('around')}</Button>
        {line.device && <Button size="small" onClick={() => onSet({ device: line.device })}>{t('onlyDevice')}</Button>}
        {line.program && <Button size="small" onClick={() => onSet({ program: line.program ?? '' })}>{t('onlyProgram')}</Button>}
        {!line.device && <Button size="small" onClick={() => void go('/logs?view=senders')}>{t('senders')}</Button>}
        <Button size="small" onClick={copy}>{t('copyLine')}</Button>
      </div>
    </div>
  );
}

/** What a line carries beside its message: JSON, or JSON as text. */
function fields(given: unknown): ReactNode {
  if (given === undefined || given === null || given === '' || given === '{}') return null;
  const text = typeof given === 'string' ? given : JSON.stringify(given, undefined, 2);
  return text === '{}' ? null : <Said text={text} lines />;
}
