import { Alert, Button, Input, Select } from 'antd';
import { useEffect, useState } from 'react';
import type { Refused } from '@/api/http';
import { useGet } from '@/api/query';
import { useSession } from '@/api/session';
import type { List, Manifest } from '@/api/types';
import { Busy, Part, Problem, Sign, Target, Time } from '@/components';
import { useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import { fullName, shownName } from '@/lib/name';
import { ExclamationCircleFilled } from '@ant-design/icons';
import { Said } from '../text/Said';
import { Devices } from './Devices';
import { FindingList } from './Findings';
import { shortCommit } from './model';
import css from './source.module.css';
import { alike, opened, type Preview, stories, type Told } from './story';
import texts from './text';

/** What would come of a branch, tag or commit. */
export function PreviewPart() {
  const t = useText(texts);
  const { mode } = useSession();
  const [revision, setRevision] = useParam('revision');
  const [repository, setRepository] = useParam('repository');
  const [typed, setTyped] = useState(revision);
  useEffect(() => setTyped(revision), [revision]);
  const repositories = useGet<List<Manifest>>('/repositories', { limit: 200, fields: 'metadata.namespace,metadata.name' }, { enabled: mode === 'kubernetes' });
  const names = (repositories.data?.items ?? []).map(({ metadata }) => ({ namespace: metadata.namespace ?? 'default', name: metadata.name }));
  // It is fetched from Git and planned: not again because a window got the focus.
  const preview = useGet<Preview>('/plans/preview', { revision, repository }, { enabled: revision !== '', staleTime: 60_000, refetchOnWindowFocus: false, retry: false });
  return (
    <Part title={t('preview')} extra={<span className="ek-dim">{t('previewAbout')}</span>}>
      <form
        className={css.ask}
        onSubmit={(event) => {
          event.preventDefault();
          if (typed.trim() === revision && revision !== '') void preview.refetch();
          else setRevision(typed.trim());
        }}
      >
        {mode === 'kubernetes' && (
          <Select className={css.repository} aria-label={t('name')} placeholder={t('name')} value={repository || undefined} onChange={setRepository} options={names.map((name) => ({ value: fullName(name), label: shownName(name) }))} />
        )}
        <Input className={css.revision} aria-label={t('revision')} placeholder={t('revision')} value={typed} maxLength={255} allowClear spellCheck={false} onChange={(event) => setTyped(event.target.value)} />
        <Button type="primary" htmlType="submit" disabled={typed.trim() === ''} loading={preview.isFetching}>{t('previewAsk')}</Button>
      </form>
      {revision !== '' && (
        <div className={css.preview} aria-live="polite">
          {preview.error ? <Unseen error={preview.error} retry={() => void preview.refetch()} /> : preview.data ? <Shown preview={preview.data} /> : <Busy>{t('previewing')}</Busy>}
        </div>
      )}
    </Part>
  );
}

/** Why there is nothing to see: that a branch is not there is no fault of anybody's. */
function Unseen({ error, retry }: { error: Refused; retry: () => void }) {
  const t = useText(texts);
  if (error.status !== 409) return <Problem error={error} retry={retry} />;
  return <Alert type="warning" showIcon title={t('noPreview')} description={<Said text={error.message} lines />} />;
}

function Shown({ preview }: { preview: Preview }) {
  const t = useText(texts);
  const { revision, reach, tooFar, findings, outlook } = preview;
  const told = outlook.plans ? stories(outlook) : [];
  const deferred = alike(outlook.deferred ?? []);
  return (
    <>
      <p className={css.about}>
        <code><Said text={revision.reference ? `${revision.reference}@${shortCommit(revision.commit)}` : shortCommit(revision.commit)} /></code> <Said text={revision.author ?? ''} />
      </p>
      {tooFar && <Sign tone="warn" sign={<ExclamationCircleFilled />}><Said text={t('wouldWait', { reason: tooFar })} /></Sign>}
      {(reach.deleted ?? []).length > 0 && <Devices title={t('deletes', { n: reach.deleted.length })} devices={reach.deleted} isBad />}
      {(reach.touched ?? []).length > 0 && <Devices title={t('touches', { n: reach.touched.length, of: reach.of })} devices={reach.touched} />}
      {findings.length > 0 && <FindingList findings={findings} />}
      {told.length === 0 && deferred.length === 0 && <p>{t('nothingToDo')}</p>}
      {told.map((story) => (
        <section key={story.unit} className={css.story}>
          <h3><Target of={story.unit} /></h3>
          {story.window && <p className="ek-dim">{t('window')} <Time at={story.window} /></p>}
          <ol>{story.told.map((line, at) => <li key={at}><Line told={line} /></li>)}</ol>
        </section>
      ))}
      {outlook.ends === false && <p className="ek-dim">{t('noEnd')}</p>}
      {deferred.length > 0 && (
        <section className={css.story}>
          <h3>{t('putOff')}</h3>
          <ul>
            {deferred.map((group, at) => (
              <li key={at}>
                <Target of={group.unit} />: <Said text={group.wants} /> · <i>{t('notNow')}: <Said text={waiting(group.waitingOn)} /></i>
                <Devices devices={group.targets} />
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

const VERBS = ['apply', 'restore', 'reboot', 'remove', 'start', 'openBatch', 'complete', 'rollBack'] as const;

function Line({ told }: { told: Told }) {
  const t = useText(texts);
  const word = (verb: string): string => ((VERBS as readonly string[]).includes(verb) ? t(verb as (typeof VERBS)[number]) : verb);
  if (told.what === 'rollout') return <span className="ek-dim"><Said text={word(told.change)} />: <Said text={told.reason} /></span>;
  return (
    <div className={css.told}>
      <span>{told.batch > 0 && <b>{t('batch', { n: told.batch })} · </b>}<Said text={word(told.verb)} /></span>
      <Devices devices={told.devices} />
      <ul className={css.changes}>
        {told.changes.map((change, at) => (
          <li key={at}>
            <code>
              <Said text={change.item.replace(':', ' ')} /> {change.from == null ? <span className="ek-dim">{t('absent')}</span> : <del><Said text={change.from} /></del>} → {change.to == null ? <span className="ek-dim">{t('absent')}</span> : <ins><Said text={change.to} /></ins>}
            </code>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** Why not now, in short: its word, and what its fields say. */
function waiting(on: unknown): string {
  const [word, inside] = opened(on);
  const fields = typeof inside === 'object' && inside !== null ? Object.values(inside).filter((value) => value !== null && value !== '') : [];
  return `${word}${fields.length > 0 ? ` (${fields.map((value) => (typeof value === 'object' ? JSON.stringify(value) : String(value))).join(', ')})` : ''}`;
}
