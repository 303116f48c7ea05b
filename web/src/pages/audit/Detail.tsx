import { App, Button, Drawer } from 'antd';
import { type ReactNode, useEffect, useState } from 'react';
import { useGet } from '@/api/query';
import { Fetched, Time } from '@/components';
import { useText } from '@/i18n/language';
import { Said } from '../text/Said';
import css from './audit.module.css';
import { canonical, leafOf } from './canonical';
import type { Entry } from './entry';
import { Outcome } from './Outcome';
import { Sentence } from './Sentence';
import texts from './text';

/** One entry with all that is in it, and what is hashed. */
export function Detail({ index, onShow }: { index: string; onShow: (index: string) => void }) {
  const t = useText(texts);
  const isShown = /^\d{1,15}$/.test(index);
  const entry = useGet<Entry>(`/audit/${isShown ? index : '0'}`, undefined, { enabled: isShown, staleTime: Number.POSITIVE_INFINITY });
  return (
    <Drawer title={t('detail', { index: `#${index}` })} open={isShown} onClose={() => onShow('')} size={560} destroyOnHidden>
      <Fetched of={entry} lines={8}>{(found) => <Inside entry={found} onShow={onShow} />}</Fetched>
    </Drawer>
  );
}

function Inside({ entry, onShow }: { entry: Entry; onShow: (index: string) => void }) {
  const t = useText(texts);
  const { message } = App.useApp();
  const [leaf, setLeaf] = useState<string>();
  useEffect(() => {
    void leafOf(entry).then(setLeaf);
  }, [entry]);
  const json = canonical(entry);
  const kind = entry.actor.kind;
  const fields: [keyof typeof texts, ReactNode][] = [
    ['when', <Time key="v" at={entry.at} />],
    ['outcome', <Outcome key="v" value={entry.outcome} />],
    ['actorField', <span key="v"><Said text={entry.actor.name} /> <span className="ek-dim">({kind === 'engine' || kind === 'commit' || kind === 'user' ? t(kind) : kind})</span></span>],
    ['unit', entry.unit && <Said key="v" text={entry.unit} />],
    ['plan', entry.plan && <code key="v"><Said text={entry.plan} /></code>],
    ['step', entry.step && <code key="v"><Said text={entry.step} /></code>],
    ['message', entry.message && <Said key="v" text={entry.message} lines />],
    ['refersTo', entry.refersTo !== undefined && <Button key="v" size="small" type="link" className={css.link} onClick={() => onShow(String(entry.refersTo))}>#{entry.refersTo} · {t('begins')}</Button>],
    ['leaf', leaf && <code key="v" title={t('leafHint')}>{leaf}</code>],
  ];
  return (
    <div className={css.detail}>
      <p className={css.headline}><Sentence entry={entry} /></p>
      {entry.actor.signer && <p className="ek-dim"><Said text={t('signed', { signer: entry.actor.signer })} /></p>}
      <dl>
        {fields.filter(([, value]) => value).map(([key, value]) => (
          <div key={key}>
            <dt>{t(key)}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {(entry.changes ?? []).length > 0 && (
        <>
          <h3>{t('changes')}</h3>
          <ul className={css.changes}>
            {(entry.changes ?? []).map((change, at) => <li key={at}><code><Said text={change} /></code></li>)}
          </ul>
        </>
      )}
      <h3>
        {t('json')}
        <Button size="small" onClick={() => void navigator.clipboard.writeText(json).then(() => message.success(t('copied')))}>{t('copy')}</Button>
      </h3>
      <pre className={css.json}><Said text={json} lines /></pre>
    </div>
  );
}
