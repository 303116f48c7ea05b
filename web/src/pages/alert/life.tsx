/** The life of an alert as a timeline: what happened, what was decided, who was told of it, and what failed. */
import { BellOutlined, CheckCircleFilled, CloseCircleFilled, HistoryOutlined, HourglassOutlined, InfoOutlined, SendOutlined, UserOutlined } from '@ant-design/icons';
import type { ReactNode } from 'react';
import { Name, Time } from '@/components';
import { useText } from '@/i18n/language';
import { clock } from '@/lib/time';
import { visibleText } from '../text/visible';
import texts from './text';
import type { Happening } from './timeline';

const SIGN: Record<Happening['kind'], { sign: ReactNode; tone: string }> = {
  changed: { sign: <HistoryOutlined />, tone: 'ek-warn' },
  began: { sign: <HourglassOutlined />, tone: 'ek-calm' },
  fired: { sign: <BellOutlined />, tone: 'ek-bad' },
  resolved: { sign: <CheckCircleFilled />, tone: 'ek-good' },
  acknowledged: { sign: <UserOutlined />, tone: 'ek-busy' },
  decided: { sign: <InfoOutlined />, tone: 'ek-calm' },
  said: { sign: <SendOutlined />, tone: 'ek-busy' },
  failed: { sign: <CloseCircleFilled />, tone: 'ek-bad' },
};

export function Life({ happened }: { happened: Happening[] }) {
  return (
    <ol className="life">
      {happened.map((one, index) => (
        <li key={index} className={`life-${one.kind}`}>
          <span className={`life-sign ${SIGN[one.kind].tone}`} aria-hidden>
            {SIGN[one.kind].sign}
          </span>
          <span className="life-at">
            <Time at={one.at} />
          </span>
          <span className="life-words">
            <Words of={one} />
          </span>
        </li>
      ))}
    </ol>
  );
}

function Words({ of }: { of: Happening }) {
  const t = useText(texts);
  const why = (reason: string) => (reason in texts ? t(reason as keyof typeof texts) : visibleText(reason));
  switch (of.kind) {
    case 'changed':
      return (
        <>
          <Name kind="Deployment" of={of.deployment} /> {t('changed', { revision: visibleText(of.revision) })}
          {of.commit && <code className="ek-dim"> {t('commit', { commit: visibleText(of.commit.slice(0, 10)) })}</code>}
        </>
      );
    case 'acknowledged':
      return (
        <>
          {t('acknowledged', { by: visibleText(of.by), until: clock(of.until) })}
          {of.comment && <span className="ek-dim">: {visibleText(of.comment, true)}</span>}
        </>
      );
    case 'decided':
      return (
        <span className="life-decided">
          {of.what && <strong>{visibleText(of.what)}: </strong>}
          {visibleText(of.why)}
        </span>
      );
    case 'said':
      return (
        <>
          {t('said', { receiver: visibleText(of.receiver) })} <span className="ek-dim">({why(of.reason)})</span>
        </>
      );
    case 'failed':
      return (
        <>
          <strong className="life-bad">{t('failed', { receiver: visibleText(of.receiver) })}</strong> <span className="ek-dim">({why(of.reason)})</span>
          <div className="life-bad">{visibleText(of.problem)}</div>
        </>
      );
    case 'fired':
      return (
        <>
          <strong>{t('fired')}</strong>
          {of.value && <span className="ek-dim"> {t('firedWith', { value: visibleText(of.value) })}</span>}
        </>
      );
    default:
      return <strong>{t(of.kind)}</strong>;
  }
}
