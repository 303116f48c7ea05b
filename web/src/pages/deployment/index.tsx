import { DeleteOutlined, EditOutlined } from '@ant-design/icons';
import { Alert, Skeleton } from 'antd';
import { useState } from 'react';
import { useNavigate, useParams } from 'react-router';
import { useOrigin } from '@/api/origin';
import { useGet } from '@/api/query';
import { Act, Fetched, Nothing, Page, Part, Phase, Problem, Time } from '@/components';
import { DeleteDialog, type Doomed, EditDrawer, type Editing } from '@/components/object-editor';
import { useText } from '@/i18n/language';
import { type Named, pathOf, shownName } from '@/lib/name';
import { summaryOf } from '../deployments/content';
import { lanesOf } from '../deployments/lanes';
import { Progress } from '../deployments/progress';
import type { Deployment, Rollout } from '../deployments/types';
import { personOf } from '../text/person';
import { visibleText } from '../text/visible';
import { Approve, PauseOrResume, Undo } from './acts';
import { batchesOf, selectorOf, stalledBy, toCome } from './facts';
import { History } from './history';
import { Lanes } from './lanes-view';
import texts from './text';
import { Waits } from './waits';
import './page.css';
import '../deployments/list.css';

export default function DeploymentPage() {
  const t = useText(texts);
  const { namespace = 'default', name = '' } = useParams();
  const named = { namespace, name };
  const navigate = useNavigate();
  const [editing, setEditing] = useState<Editing>();
  const [doomed, setDoomed] = useState<Doomed>();
  const deployment = useGet<Deployment>(`/deployments/${pathOf(named)}`);
  const rollout = useGet<Rollout>(`/rollouts/${pathOf(named)}`);
  const never = rollout.error?.status === 404;
  const who = { verb: 'edit', kind: 'Deployment', namespace, name } as const;
  return (
    <Page
      title={shownName(named)}
      crumbs={[{ title: t('deployments'), to: '/deployments' }]}
      beside={deployment.data && <Phase value={deployment.data.status?.phase || 'Pending'} />}
      actions={
        <>
          {rollout.data && <PauseOrResume named={named} rollout={rollout.data} />}
          {rollout.data && <Undo named={named} rollout={rollout.data} />}
          <Act {...who} icon={<EditOutlined aria-hidden />} onAct={() => setEditing({ plural: 'deployments', name: named })}>
            {t('edit')}
          </Act>
          <Act {...who} danger type="text" icon={<DeleteOutlined aria-hidden />} onAct={() => setDoomed({ plural: 'deployments', name: named })}>
            {t('delete')}
          </Act>
        </>
      }
    >
      <Fetched of={deployment}>{(found) => <Summary deployment={found} rollout={rollout.data} />}</Fetched>
      {rollout.isPending && deployment.data && <Skeleton active title={false} paragraph={{ rows: 6 }} />}
      {rollout.error && !never && <Problem error={rollout.error} retry={() => void rollout.refetch()} />}
      {never && deployment.data && (
        <Part title={t('rolloutNone')}>
          <Nothing title={t('neverTitle')} hint={t('neverHint')} />
        </Part>
      )}
      {rollout.data && <Parts named={named} rollout={rollout.data} deployment={deployment.data} />}
      {deployment.data && <Explain named={named} />}
      <EditDrawer editing={editing} onClose={() => setEditing(undefined)} />
      <DeleteDialog doomed={doomed} onClose={() => setDoomed(undefined)} onDone={() => void navigate('/deployments')} />
    </Page>
  );
}

function Parts({ named, rollout, deployment }: { named: Named; rollout: Rollout; deployment: Deployment | undefined }) {
  const t = useText(texts);
  const lanes = lanesOf(rollout);
  const current = rollout.history.at(-1);
  const spec = deployment?.spec;
  return (
    <>
      <div className="dep-main">
      <Part title={current ? t('rollout', { n: current.number }) : t('rolloutNone')} extra={current && <span className="ek-dim">{visibleText(summaryOf(current.content))}</span>} flush>
        {lanes.length === 0 ? (
          <Nothing title={t('notYet')} hint={t('notYetHint')} />
        ) : (
          <Lanes lanes={lanes} toCome={toCome(rollout, deployment?.status)} batches={batchesOf(spec, t('rest'))} />
        )}
      </Part>
      <Part title={t('waitsTitle')} flush>
        <Waits waits={rollout.waits} approve={<Approve named={named} rollout={rollout} />} />
      </Part>
      </div>
      <Part title={t('history')} flush>
        <History history={rollout.history} inForce={deployment?.status?.inForce} />
      </Part>
    </>
  );
}

function Summary({ deployment, rollout }: { deployment: Deployment; rollout: Rollout | undefined }) {
  const t = useText(texts);
  const { status, origin, spec, metadata } = deployment;
  const place = useOrigin('deployments', { namespace: metadata.namespace ?? 'default', name: metadata.name });
  const stalled = stalledBy(deployment);
  const choice = (word: unknown) => (typeof word === 'string' && Object.hasOwn(texts, word) ? t(word as keyof typeof texts) : visibleText(String(word)));
  return (
    <Part>
      {stalled && <Alert type="error" showIcon title={t('notInForce', { why: visibleText(stalled, true) })} className="dep-stalled" />}
      <dl className="dep-facts">
        <div>
          <dt>{t('devices', { n: status?.counts?.total ?? 0 })}</dt>
          <dd>
            <Progress counts={status?.counts} wide />
          </dd>
        </div>
        <div>
          <dt>{t('selector')}</dt>
          <dd>
            {selectorOf(spec) ? <code>{visibleText(selectorOf(spec))}</code> : t('everything')}
          </dd>
        </div>
        <div>
          <dt>{t('strategy')}</dt>
          <dd>{batchesOf(spec, t('rest'))}</dd>
        </div>
        <div>
          <dt>{t('onFailure')}</dt>
          <dd>{choice(spec?.onFailure ?? 'Rollback')}</dd>
        </div>
        <div>
          <dt>{t('approvalField')}</dt>
          <dd>{choice(spec?.approval ?? 'None')}</dd>
        </div>
        {(place || origin?.commit) && (
          <div>
            <dt>{t('where')}</dt>
            <dd>
              <code>{visibleText(place ?? (origin?.commit ?? '').slice(0, 12))}</code>
              {origin?.author && <div className="ek-dim" title={visibleText(origin.author)}>{visibleText(personOf(origin.author))}</div>}
            </dd>
          </div>
        )}
        {rollout?.paused && (
          <div className="dep-paused">
            <dt>{t('pausedBy', { by: visibleText(rollout.paused.by) })}</dt>
            <dd>
              <Time at={rollout.paused.at} relative />
            </dd>
          </div>
        )}
      </dl>
    </Part>
  );
}

function Explain({ named }: { named: Named }) {
  const t = useText(texts);
  const explain = useGet<{ text: string }>(`/deployments/${pathOf(named)}/explain`);
  return (
    <Part title={t('explain')} extra={<span className="ek-dim dep-explain-hint">{t('explainHint', { name: shownName(named) })}</span>} flush>
      <Fetched of={explain}>{({ text }) => <pre className="dep-explain">{visibleText(text, true)}</pre>}</Fetched>
    </Part>
  );
}
