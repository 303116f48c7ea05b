import { BranchesOutlined, DownloadOutlined, RobotOutlined, UserOutlined } from '@ant-design/icons';
import { Button, Input, Skeleton, Tooltip } from 'antd';
import { type ReactNode, useEffect, useState } from 'react';
import { BASE } from '@/api/http';
import { useList } from '@/api/query';
import { useSession } from '@/api/session';
import { Nothing, Page, Part, Problem, Time } from '@/components';
import { useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import { usePaused } from '@/lib/pause';
import { Said } from '../text/Said';
import css from './audit.module.css';
import { Detail } from './Detail';
import type { Entry } from './entry';
import { Outcome } from './Outcome';
import { Proof } from './Proof';
import { Sentence } from './Sentence';
import texts from './text';

/** Who did what, and the proof that nothing was changed since. */
export default function Audit() {
  const t = useText(texts);
  // The log as a whole says more than anybody may see by Roles: its proof and its export are for administrators.
  const isAdmin = useSession().user?.isAdmin === true;
  const [q, setQ] = useParam('q');
  const [about, setAbout] = useParam('about');
  const [actor, setActor] = useParam('actor');
  const [shown, setShown] = useParam('entry');
  const query = { q: usePaused(q), about: usePaused(about), actor: usePaused(actor) };
  const entries = useList<Entry>('/audit', query, { limit: 100 });
  const isNarrowed = q !== '' || about !== '' || actor !== '';
  const clear = (): void => {
    for (const set of [setQ, setAbout, setActor]) set('');
  };
  return (
    <Page
      title={t('title')}
      about={t('about')}
      actions={isAdmin && (
        <Tooltip title={t('exportHint')}>
          <Button icon={<DownloadOutlined />} href={`${BASE}/audit/export`} download="audit.jsonl">
            {t('export')}
          </Button>
        </Tooltip>
      )}
    >
      {isAdmin && <Proof />}
      <search className={css.bar}>
        <Typed label={t('q')} value={q} onSet={setQ} wide />
        <Typed label={t('target')} value={about} onSet={setAbout} />
        <Typed label={t('actor')} value={actor} onSet={setActor} />
        {isNarrowed && <Button type="text" size="small" onClick={clear}>{t('clear')}</Button>}
      </search>
      <Part flush>
        {entries.error && <Problem error={entries.error} retry={() => void entries.refetch()} />}
        {entries.isPending && <div className={css.waiting}><Skeleton active title={false} paragraph={{ rows: 8 }} /></div>}
        {entries.data && entries.items.length === 0 && (
          <Nothing title={t(isNarrowed ? 'nothing' : 'empty')} hint={t(isNarrowed ? 'nothingHint' : 'emptyHint')} action={isNarrowed && <Button onClick={clear}>{t('clear')}</Button>} />
        )}
        {entries.items.length > 0 && (
          <ol className={css.entries}>
            {entries.items.map((entry) => (
              <Row key={entry.index} entry={entry} isShown={shown === String(entry.index)} onShow={() => setShown(String(entry.index))} />
            ))}
          </ol>
        )}
        {entries.items.length > 0 && (
          <div className={css.foot}>
            {entries.hasNextPage ? (
              <Button loading={entries.isFetchingNextPage} onClick={() => void entries.fetchNextPage()}>{t('older')}</Button>
            ) : (
              !isNarrowed && <span className="ek-dim">{t('end')}</span>
            )}
          </div>
        )}
      </Part>
      <Detail index={shown} onShow={setShown} />
    </Page>
  );
}

function Typed({ label, value, onSet, wide = false }: { label: string; value: string; onSet: (value: string) => void; wide?: boolean }) {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  return (
    <Input
      className={wide ? css.wide : css.field}
      aria-label={label}
      placeholder={label}
      value={typed}
      maxLength={256}
      allowClear
      onChange={(event) => {
        setTyped(event.target.value);
        onSet(event.target.value);
      }}
    />
  );
}

const ACTORS: Readonly<Record<string, ReactNode>> = { engine: <RobotOutlined />, commit: <BranchesOutlined />, user: <UserOutlined /> };

function Row({ entry, isShown, onShow }: { entry: Entry; isShown: boolean; onShow: () => void }) {
  const t = useText(texts);
  const { kind } = entry.actor;
  return (
    <li className={isShown ? `${css.entry} ${css.shown}` : css.entry}>
      <span className={css.when}><Time at={entry.at} /></span>
      <span className={css.icon} title={kind === 'engine' || kind === 'commit' || kind === 'user' ? t(kind) : kind}>{ACTORS[kind] ?? <UserOutlined />}</span>
      <span className={css.said}>
        <Sentence entry={entry} />
        {entry.message && <span className={css.message}><Said text={entry.message} lines /></span>}
      </span>
      <Outcome value={entry.outcome} />
      <button type="button" className={css.index} aria-label={t('detail', { index: `#${entry.index}` })} aria-haspopup="dialog" onClick={onShow}>
        #{entry.index}
      </button>
    </li>
  );
}
