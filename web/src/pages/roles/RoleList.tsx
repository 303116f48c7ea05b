import { CheckCircleFilled, CloseCircleFilled, PauseCircleFilled } from '@ant-design/icons';
import { Button, Table } from 'antd';
import { useState } from 'react';
import { Act, Busy, Sign } from '@/components';
import { useText } from '@/i18n/language';
import { type Named, shownName } from '@/lib/name';
import { Said } from '../text/Said';
import { useAnswer } from './CanBox';
import { type Grant, type Role, type RoleTest, selectorText, shortKey } from './matrix';
import css from './roles.module.css';
import texts from './text';

export interface RoleActs {
  onEdit: (named: Named) => void;
  onDelete: (named: Named) => void;
}

/** The Roles themselves, with what they allow and their tests. */
export function RoleList({ roles, onEdit, onDelete }: { roles: Role[] } & RoleActs) {
  const t = useText(texts);
  const nameOf = (role: Role) => ({ namespace: role.metadata.namespace ?? 'default', name: role.metadata.name });
  return (
    <Table<Role>
      size="small"
      rowKey={(role) => `${role.metadata.namespace}/${role.metadata.name}`}
      dataSource={roles}
      scroll={{ x: 960 }}
      pagination={roles.length > 50 ? { pageSize: 50, showSizeChanger: false, size: 'small' } : false}
      expandable={{
        rowExpandable: (role) => (role.spec.tests ?? []).length > 0,
        expandedRowRender: (role) => <Tests role={role} />,
      }}
      columns={[
        {
          title: t('role'),
          width: 160,
          render: (_, role) => (
            <>
              <span className="ek-name">{shownName(nameOf(role))}</span>
              {role.spec.suspend && <div><Sign tone="warn" sign={<PauseCircleFilled />}>{t('suspendedTag')}</Sign></div>}
            </>
          ),
        },
        {
          title: t('subjects'),
          width: 190,
          render: (_, { spec }) => (
            <ul className={css.list}>
              {spec.subjects.map(({ user, group, signer }, at) => (
                <li key={at}><Said text={group !== undefined ? `group:${group}` : signer !== undefined ? `signer:${shortKey(signer)}` : (user ?? '')} /></li>
              ))}
            </ul>
          ),
        },
        { title: t('grants'), render: (_, { spec }) => <ul className={css.list}>{(spec.allow ?? []).map((grant, at) => <li key={at}><Allows grant={grant} /></li>)}</ul> },
        { title: t('tests'), width: 90, render: (_, { spec }) => ((spec.tests ?? []).length > 0 ? <span className="ek-num">{spec.tests?.length}</span> : <span className="ek-dim">{t('noTests')}</span>) },
        {
          title: <span className="ek-hidden">{t('deeds')}</span>,
          width: 150,
          fixed: 'right',
          align: 'right',
          render: (_, role) => {
            const named = nameOf(role);
            const who = { verb: 'edit', kind: 'Role', size: 'small', ...named } as const;
            return (
              <>
                <Act {...who} onAct={() => onEdit(named)}>{t('edit2')}</Act> <Act {...who} type="text" danger onAct={() => onDelete(named)}>{t('delete')}</Act>
              </>
            );
          },
        },
      ]}
    />
  );
}

function Allows({ grant }: { grant: Grant }) {
  const t = useText(texts);
  return (
    <>
      <b>{grant.verbs.join(', ')}</b> {(grant.kinds ?? []).length > 0 ? grant.kinds?.join(', ') : <i>{t('allKinds')}</i>}
      {grant.devices && <> · <code><Said text={selectorText(grant.devices)} /></code></>}
    </>
  );
}

function Tests({ role }: { role: Role }) {
  const t = useText(texts);
  const [isRunning, setRunning] = useState(false);
  const namespace = role.metadata.namespace ?? 'default';
  return (
    <div className={css.tests}>
      <div className={css.testsHead}>
        <span className="ek-dim">{t('testsAbout')}</span>
        <Button size="small" onClick={() => setRunning(true)}>{t('runTests')}</Button>
      </div>
      <ul className={css.list}>
        {(role.spec.tests ?? []).map((test, at) => <Test key={at} test={test} namespace={namespace} isRunning={isRunning} />)}
      </ul>
    </div>
  );
}

function Test({ test, namespace, isRunning }: { test: RoleTest; namespace: string; isRunning: boolean }) {
  const t = useText(texts);
  const isDevice = test.kind === 'Device';
  const answer = useAnswer({ subject: test.subject, verb: test.may, kind: test.kind, namespace, name: isDevice ? (test.device ?? '') : '' }, isRunning && (isDevice || !test.device));
  // A test about a device asks of any Deployment, rule or silence on it alone: only `evenkeel check` tries that.
  const isOurs = isDevice || !test.device;
  const holds = answer.data && answer.data.allowed === test.expect;
  return (
    <li className={css.test}>
      <span>
        <Said text={test.subject} /> <b>{t(test.expect ? 'expectYes' : 'expectNo')}</b> {test.may} {test.kind} <Said text={test.device ?? t('any')} />
      </span>
      {isRunning && !isOurs && <span className="ek-dim">{t('checkOnly')}</span>}
      {isRunning && answer.isFetching && <Busy>{t('running')}</Busy>}
      {answer.error && <Said text={answer.error.message} />}
      {holds === true && <Sign tone="good" sign={<CheckCircleFilled />}>{t('passes')}</Sign>}
      {holds === false && <Sign tone="bad" sign={<CloseCircleFilled />}>{t('fails')}</Sign>}
      {holds === false && <span className="ek-dim"><Said text={answer.data?.reason ?? ''} /></span>}
    </li>
  );
}
