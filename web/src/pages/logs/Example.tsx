import { Button } from 'antd';
import { useGet } from '@/api/query';
import type { Change, List } from '@/api/types';
import { Fetched, Target, Time } from '@/components';
import { useLanguage, useText } from '@/i18n/language';
import { parseName, pathOf, shownName } from '@/lib/name';
import { span } from '@/lib/time';
import { Said } from '../text/Said';
import css from './logs.module.css';
import { Marked } from './Marked';
import { instantOf, type LogKind, type LogLine } from './model';
import { mark } from './template';
import texts from './text';
import { tied } from './tied';

/** The newest line of a kind, with what varies in it marked; and for a new kind, what was changed just before it came. */
export function Example({ kind, onShow }: { kind: LogKind; onShow: () => void }) {
  const t = useText(texts);
  const lines = useGet<List<LogLine>>('/logs', { template: kind.template, limit: 1 });
  return (
    <div className={css.example}>
      <Fetched of={lines} lines={1}>
        {({ items: [line] }) =>
          line ? (
            <>
              <div className="ek-dim">{t('example')}: <Time at={line.received} relative /> · {t('exampleHint')}</div>
              <pre className={css.exampleLine}><Marked parts={mark(kind.text, line.text)} /></pre>
            </>
          ) : (
            <div className="ek-dim">{t('noExample')}</div>
          )
        }
      </Fetched>
      {kind.is.includes('new') && <Tied kind={kind} />}
      <Button size="small" onClick={onShow}>{t('showLines')}</Button>
    </div>
  );
}

function Tied({ kind }: { kind: LogKind }) {
  const t = useText(texts);
  const { language } = useLanguage();
  const device = kind.devices[0];
  const named = parseName(device ?? '');
  const changes = useGet<{ items: Change[] }>(`/devices/${pathOf(named)}/changes`, { since: '30d' }, { enabled: device !== undefined });
  const first = instantOf(kind.first);
  if (!changes.data || first === undefined || device === undefined) return null;
  const found = tied(changes.data.items, first);
  if (!found) return <div className="ek-dim">{t('untied', { device: shownName(named) })}</div>;
  const { change, seconds } = found;
  return (
    <div className={css.tied}>
      {seconds > 0 ? t('tied', { span: span(seconds, language) }) : t('tiedAt')}{' '}
      {change.deployment ? <Target of={`deployment/${change.deployment}`} /> : null} <b><Said text={change.title} /></b>{' '}
      {change.commit && <span className="ek-dim"><Said text={t('byCommit', { commit: change.commit.slice(0, 10), author: change.author ?? '?' })} /></span>}
    </div>
  );
}
