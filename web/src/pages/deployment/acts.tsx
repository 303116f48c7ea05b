/** What a person can do to a rollout, with what it means said before it is done. */
import { CaretRightOutlined, PauseOutlined, RollbackOutlined, UserSwitchOutlined } from '@ant-design/icons';
import { Alert, Input, Modal, Typography } from 'antd';
import { useState } from 'react';
import { useDeed } from '@/api/query';
import { Act, Name, Problem } from '@/components';
import { useText } from '@/i18n/language';
import { COMMENT, commentFault } from '@/lib/comment';
import { type Named, pathOf, shownName } from '@/lib/name';
import { summaryOf } from '../deployments/content';
import { approvalOf, consequencesOfUndo, possible } from '../deployments/lanes';
import type { Rollout } from '../deployments/types';
import { visibleText } from '../text/visible';
import { ContentDiff } from './content-diff';
import texts from './text';
import { batchOf, wanted } from './words';

interface Props {
  named: Named;
  rollout: Rollout;
}

/** Devices that a dialog names. */
const NAMED = 24;

const renewed = (named: Named) => [`/deployments/${pathOf(named)}`, `/rollouts/${pathOf(named)}`, '/deployments'];

export function PauseOrResume({ named, rollout }: Props) {
  const t = useText(texts);
  const deed = useDeed({ renews: renewed(named) });
  const can = possible(rollout);
  const act = (what: 'pause' | 'resume') => deed.mutate({ path: `/deployments/${pathOf(named)}/${what}`, body: {} });
  const who = { verb: 'deploy', kind: 'Deployment', namespace: named.namespace, name: named.name, loading: deed.isPending } as const;
  return (
    <>
      {can.resume && (
        <Act {...who} icon={<CaretRightOutlined />} confirm={t('resumeAsk')} onAct={() => act('resume')}>
          {t('resume')}
        </Act>
      )}
      {!rollout.paused && (
        <Act {...who} icon={<PauseOutlined />} cannot={!can.pause && t('cannotPause')} confirm={t('pauseAsk')} onAct={() => act('pause')}>
          {t('pause')}
        </Act>
      )}
    </>
  );
}

export function Undo({ named, rollout }: Props) {
  const t = useText(texts);
  const [open, setOpen] = useState(false);
  const [comment, setComment] = useState('');
  const deed = useDeed({ quiet: true, renews: renewed(named), onDone: () => setOpen(false) });
  const means = consequencesOfUndo(rollout);
  const fault = commentFault(comment);
  const from = rollout.history.find((record) => record.number === means?.from);
  const to = rollout.history.find((record) => record.number === means?.to);
  return (
    <>
      <Act
        verb="rollback"
        kind="Deployment"
        namespace={named.namespace}
        name={named.name}
        icon={<RollbackOutlined />}
        cannot={!possible(rollout).undo && t('cannotUndo')}
        onAct={() => {
          deed.reset();
          setOpen(true);
        }}
      >
        {t('undo')}
      </Act>
      <Modal
        open={open && means !== undefined}
        title={t('undoTitle', { from: means?.from ?? 0 })}
        width={680}
        okText={t('undoOk')}
        okButtonProps={{ danger: true, loading: deed.isPending, disabled: fault !== undefined }}
        onOk={() => deed.mutate({ path: `/deployments/${pathOf(named)}/undo`, body: comment ? { comment } : {} })}
        onCancel={() => setOpen(false)}
      >
        {means && from && to && (
          <div className="dep-dialog">
            <p>{t('undoTo', { name: shownName(named), to: to.number, version: visibleText(summaryOf(to.content)) })}</p>
            {means.devices.length === 0 ? (
              <p>{t('undoNone')}</p>
            ) : (
              <>
                <p>{t('undoDevices', { n: means.devices.length, from: from.number })}</p>
                <Devices names={means.devices} />
              </>
            )}
            <h4>{t('undoDiff')}</h4>
            <ContentDiff from={from.content} to={to.content} />
            <Input aria-label={t('comment')} placeholder={t('comment')} value={comment} status={fault ? 'error' : ''} aria-invalid={fault !== undefined} onChange={(event) => setComment(event.target.value)} />
            {fault && <Typography.Text type="danger" role="alert">{t(fault, { n: COMMENT })}</Typography.Text>}
            {deed.error && <Problem error={deed.error} />}
          </div>
        )}
      </Modal>
    </>
  );
}

export function Approve({ named, rollout }: Props) {
  const t = useText(texts);
  // What was read when the dialog was opened is what is approved, whatever the rollout does meanwhile.
  const [asked, setAsked] = useState<{ id: string; rollout: Rollout }>();
  const deed = useDeed({ quiet: true, renews: renewed(named), onDone: () => setAsked(undefined) });
  const waits = approvalOf(rollout.waits);
  if (!waits && !asked) return null;
  const shown = asked ? approvalOf(asked.rollout.waits) : waits;
  const record = (asked?.rollout ?? rollout).history.at(-1);
  const before = (asked?.rollout ?? rollout).history.findLast((one) => one.number < (record?.number ?? 0) && one.result === 'complete');
  const batch = shown && batchOf(shown.wait.wants);
  const want = shown && wanted(shown.wait.wants, t);
  const isGone = asked !== undefined && waits?.id !== asked.id;
  return (
    <>
      <Act
        verb="approve"
        kind="Deployment"
        namespace={named.namespace}
        name={named.name}
        type="primary"
        icon={<UserSwitchOutlined />}
        onAct={() => {
          deed.reset();
          if (waits) setAsked({ id: waits.id, rollout });
        }}
      >
        {t('approve')}
      </Act>
      <Modal
        open={asked !== undefined}
        title={batch === undefined ? t('approveTitlePlain') : t('approveTitle', { n: batch })}
        width={680}
        okText={t('approveOk')}
        okButtonProps={{ loading: deed.isPending, disabled: isGone }}
        onOk={() => asked && deed.mutate({ path: `/deployments/${pathOf(named)}/approve`, body: { id: asked.id } })}
        onCancel={() => setAsked(undefined)}
      >
        {asked && want && (
          <div className="dep-dialog">
            {isGone && <Alert type="warning" showIcon title={t('approveGone')} />}
            <p>{t('approveWhat')}</p>
            <blockquote>
              <strong>{want.said}</strong>
              {want.names && <div>{visibleText(want.names)}</div>}
            </blockquote>
            {record && (
              <>
                <p>{t('approveContent', { n: record.number, version: visibleText(summaryOf(record.content)) })}</p>
                <ContentDiff from={before?.content} to={record.content} />
              </>
            )}
            <p className="ek-dim">
              <code>{t('approveId', { id: asked.id })}</code>. {t('approveBound')}
            </p>
            {deed.error && <Problem error={deed.error} />}
          </div>
        )}
      </Modal>
    </>
  );
}

function Devices({ names }: { names: string[] }) {
  const t = useText(texts);
  return (
    <div className="wait-targets">
      {names.slice(0, NAMED).map((name) => (
        <Name key={name} kind="Device" of={name} />
      ))}
      {names.length > NAMED && <span className="ek-dim">{t('nMore', { n: names.length - NAMED })}</span>}
    </div>
  );
}
