import { CheckCircleFilled, CloseCircleFilled, DiffOutlined, PauseCircleFilled, QuestionCircleOutlined } from '@ant-design/icons';
import { Table } from 'antd';
import { useState } from 'react';
import { useGet } from '@/api/query';
import type { List, Manifest } from '@/api/types';
import { Act, Fetched, Nothing, Part, Sign, Time } from '@/components';
import { DeleteDialog, type Doomed, EditDrawer, type Editing } from '@/components/object-editor';
import { useText } from '@/i18n/language';
import { shownName } from '@/lib/name';
import { Said } from '../text/Said';
import { shortCommit } from './model';
import css from './source.module.css';
import texts from './text';

type Spec = {
  url: string;
  ref?: { branch?: string; tag?: string; commit?: string };
  path?: string;
  suspend?: boolean;
  verify?: { mode: string; secretRef: { name: string } };
  drift?: string;
  limits?: { deletions?: number; devices?: string | number };
};
type Repository = Manifest<Spec, { revision?: string; signer?: string; objects?: number }>;

/** The Repositories of a cluster with their status. */
export function Repositories() {
  const t = useText(texts);
  const [editing, setEditing] = useState<Editing>();
  const [doomed, setDoomed] = useState<Doomed>();
  const repositories = useGet<List<Repository>>('/repositories', { limit: 1000 });
  return (
    <Part title={t('repositories')} flush>
      <Fetched of={repositories}>
        {({ items }) =>
          items.length === 0 ? (
            <Nothing title={t('noRepositories')} hint={t('noRepositoriesHint')} />
          ) : (
            <Table<Repository>
              size="small"
              rowKey={({ metadata }) => `${metadata.namespace}/${metadata.name}`}
              dataSource={items}
              scroll={{ x: 1220 }}
              pagination={items.length > 50 ? { pageSize: 50, showSizeChanger: false, size: 'small' } : false}
              columns={[
                {
                  title: t('name'),
                  width: 240,
                  render: (_, { metadata, spec }) => (
                    <>
                      <span className="ek-name">{shownName({ namespace: metadata.namespace ?? 'default', name: metadata.name })}</span>
                      <div className={css.small}><Said text={spec.url} /></div>
                    </>
                  ),
                },
                { title: t('ref'), width: 130, render: (_, { spec }) => <Said text={`${spec.ref?.branch ?? spec.ref?.tag ?? spec.ref?.commit?.slice(0, 10) ?? 'main'}${spec.path ? ` · ${spec.path}` : ''}`} /> },
                { title: t('inForce'), width: 120, render: (_, { status }) => (status?.revision ? <code><Said text={shortCommit(status.revision)} /></code> : <span className="ek-dim">–</span>) },
                { title: t('verified'), width: 170, render: (_, repository) => <Verified of={repository} /> },
                { title: t('objects'), width: 80, align: 'right', className: 'ek-num', render: (_, { status }) => status?.objects ?? '–' },
                { title: t('state'), render: (_, repository) => <State of={repository} /> },
                {
                  title: t('limits'),
                  width: 170,
                  render: (_, { spec }) => t('limitsOf', { deletions: String(spec.limits?.deletions ?? 5), devices: String(spec.limits?.devices ?? '100%') }),
                },
                {
                  title: <span className="ek-hidden">{t('deeds')}</span>,
                  width: 150,
                  align: 'right',
                  render: (_, { metadata }) => {
                    const name = { namespace: metadata.namespace ?? 'default', name: metadata.name };
                    const who = { verb: 'edit', kind: 'Repository', size: 'small', ...name } as const;
                    return (
                      <>
                        <Act {...who} onAct={() => setEditing({ plural: 'repositories', name })}>{t('edit')}</Act> <Act {...who} type="text" danger onAct={() => setDoomed({ plural: 'repositories', name })}>{t('delete')}</Act>
                      </>
                    );
                  },
                },
              ]}
            />
          )
        }
      </Fetched>
      <EditDrawer editing={editing} onClose={() => setEditing(undefined)} />
      <DeleteDialog doomed={doomed} onClose={() => setDoomed(undefined)} />
    </Part>
  );
}

/** On which commits a signature is asked for, and whose is on the one in force. */
function Verified({ of: { spec, status } }: { of: Repository }) {
  const t = useText(texts);
  if (!spec.verify) return <span className="ek-dim">{t('verifiedNot')}</span>;
  return (
    <>
      <Said text={t('verifiedBy', { mode: spec.verify.mode, secret: spec.verify.secretRef.name })} />
      {status?.signer && <div className={css.small}><Said text={t('signed', { key: status.signer })} /></div>}
    </>
  );
}

function State({ of: { spec, status } }: { of: Repository }) {
  const t = useText(texts);
  const ready = status?.conditions?.find((condition) => condition.type === 'Ready');
  if (spec.suspend) return <Sign tone="warn" sign={<PauseCircleFilled />}>{t('suspended')}</Sign>;
  if (!ready) return <Sign tone="calm" sign={<QuestionCircleOutlined />}>{t('unknown')}</Sign>;
  return (
    <>
      {ready.status === 'True' ? <Sign tone="good" sign={<CheckCircleFilled />}>{t('ready')}</Sign> : <Sign tone="bad" sign={<CloseCircleFilled />}>{ready.reason ?? t('notReady')}</Sign>}{' '}
      {ready.reason === 'Drifted' && <Sign tone="warn" sign={<DiffOutlined />}>{t('drifted')}</Sign>}{' '}
      {ready.message && <Said text={ready.message} />} <span className="ek-dim"><Time at={ready.lastTransitionTime} relative none="" /></span>
      <div className={css.small}>{t('driftMode')}: {spec.drift ?? 'Correct'}</div>
    </>
  );
}
