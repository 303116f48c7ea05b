import { CheckCircleFilled, CrownOutlined, LockFilled, MailOutlined, PlusOutlined, StopOutlined } from '@ant-design/icons';
import { Alert, Button, Input, Modal, Popconfirm, Table, Tag, Tooltip } from 'antd';
import { useState } from 'react';
import { useDeed, useGet } from '@/api/query';
import { useSession } from '@/api/session';
import type { List } from '@/api/types';
import { Fetched, Nothing, Page, Part, Sign, Time, useNow } from '@/components';
import { useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import { Said } from '../text/Said';
import { Copied } from '../tokens/Secret';
import type { ListedUser } from './model';
import { EditUser, UserForm } from './UserForm';
import texts from './text';
import css from './users.module.css';

/** Users in one answer: local ones and those who signed in by single sign-on. */
const MOST = 1000;

/** Who can sign in. Administrators only. */
export default function Users() {
  const t = useText(texts);
  const { user } = useSession();
  const [q, setQ] = useParam('q');
  const [edited, setEdited] = useState<ListedUser | 'new'>();
  const [made, setMade] = useState<ListedUser>();
  const users = useGet<List<ListedUser>>('/users', { limit: MOST }, { enabled: user?.isAdmin === true });
  if (!user?.isAdmin) {
    return <Page title={t('title')}><Nothing title={t('only')} hint={t('onlyHint')} /></Page>;
  }
  const onDone = (done: ListedUser | undefined) => {
    setEdited(undefined);
    if (done?.invitation) setMade(done);
  };
  return (
    <Page title={t('title')} about={t('about')} actions={<Button type="primary" icon={<PlusOutlined />} onClick={() => setEdited('new')}>{t('add')}</Button>}>
      <Part flush title={<Input.Search className={css.filter} aria-label={t('filter')} placeholder={t('filter')} value={q} allowClear onChange={(event) => setQ(event.target.value)} />}>
        <Fetched of={users} lines={6}>
          {({ items }) => {
            const words = q.trim().toLowerCase();
            const shown = items.filter(({ name, displayName, email, groups }) => [name, displayName, email, ...groups].some((text) => text?.toLowerCase().includes(words)));
            return shown.length === 0 ? <Nothing title={t(items.length === 0 ? 'none' : 'noFit')} /> : <All users={shown} me={user.name} onEdit={setEdited} onInvited={setMade} />;
          }}
        </Fetched>
      </Part>
      {edited === 'new' && <UserForm onClose={() => setEdited(undefined)} onDone={onDone} />}
      {edited && edited !== 'new' && <EditUser name={edited.name} onClose={() => setEdited(undefined)} onDone={onDone} />}
      {made?.invitation && <Invitation user={made} onClose={() => setMade(undefined)} />}
    </Page>
  );
}

function All({ users, me, onEdit, onInvited }: { users: ListedUser[]; me: string; onEdit: (user: ListedUser) => void; onInvited: (user: ListedUser) => void }) {
  const t = useText(texts);
  const now = useNow();
  return (
    <Table<ListedUser>
      size="small"
      rowKey="name"
      dataSource={users}
      scroll={{ x: 1000 }}
      pagination={users.length > 100 ? { pageSize: 100, showSizeChanger: false, size: 'small' } : false}
      columns={[
        {
          title: t('user'),
          width: 220,
          sorter: (a, b) => a.name.localeCompare(b.name),
          render: (_, user) => (
            <>
              <b><Said text={user.displayName || user.name} /></b> {user.isAdmin && <Sign tone="busy" sign={<CrownOutlined />}>{t('admin')}</Sign>}
              {besides(user) && <div className={css.small}><Said text={besides(user)} /></div>}
            </>
          ),
        },
        { title: t('groups'), render: (_, { groups }) => <span className="ek-labels">{groups.map((group) => <Tag key={group} className="ek-label"><Said text={group} /></Tag>)}</span> },
        { title: t('state'), width: 110, render: (_, user) => <State user={user} now={now} /> },
        { title: t('kind'), width: 110, render: (_, { kind }) => (kind === 'local' || kind === 'oidc' || kind === 'kubernetes' ? t(kind) : kind) },
        { title: t('lastSignIn'), width: 120, sorter: (a, b) => (a.lastSignIn ?? '').localeCompare(b.lastSignIn ?? ''), render: (_, { lastSignIn }) => <Time at={lastSignIn} relative none={t('never')} /> },
        { title: t('sessions'), dataIndex: 'sessions', width: 96, align: 'right', className: 'ek-num' },
        { title: t('tokens'), dataIndex: 'tokens', width: 84, align: 'right', className: 'ek-num' },
        { title: <span className="ek-hidden">{t('deeds')}</span>, width: 230, fixed: 'right', align: 'right', render: (_, user) => <Deeds user={user} isMe={user.name === me} onEdit={() => onEdit(user)} onInvited={onInvited} /> },
      ]}
    />
  );
}

/** What the bold name does not say already. */
function besides({ name, displayName, email }: ListedUser): string {
  return [displayName && displayName !== name ? name : '', email !== name ? email : ''].filter(Boolean).join(' · ');
}

function State({ user, now }: { user: ListedUser; now: number }) {
  const t = useText(texts);
  if (user.disabled) return <Sign tone="calm" sign={<StopOutlined />}>{t('disabled')}</Sign>;
  if (user.lockedUntil && Date.parse(user.lockedUntil) > now) {
    return (
      <Tooltip title={<>{t('lockedUntil')} <Time at={user.lockedUntil} /></>}>
        <span><Sign tone="warn" sign={<LockFilled />}>{t('locked')}</Sign></span>
      </Tooltip>
    );
  }
  if (user.invited) return <Sign tone="busy" sign={<MailOutlined />}>{t('invited')}</Sign>;
  return <Sign tone="good" sign={<CheckCircleFilled />}>{t('active')}</Sign>;
}

/** What can be done to a user. Nobody can lock themselves out. */
function Deeds({ user, isMe, onEdit, onInvited }: { user: ListedUser; isMe: boolean; onEdit: () => void; onInvited: (user: ListedUser) => void }) {
  const t = useText(texts);
  const path = `/users/${encodeURIComponent(user.name)}`;
  const change = useDeed({ renews: ['/users'], said: () => t('changed', { name: user.name }) });
  const invite = useDeed<{ invitation?: string }>({ renews: ['/users'], onDone: ({ invitation }) => invitation && onInvited({ ...user, invitation }) });
  const remove = useDeed({ renews: ['/users'], said: () => t('removed', { name: user.name }) });
  return (
    <span className={css.deeds}>
      {user.invited && <Button size="small" loading={invite.isPending} onClick={() => invite.mutate({ path: `${path}/invitation` })}>{t('inviteAgain')}</Button>}
      <Button size="small" aria-label={t('editUser', { name: user.name })} onClick={onEdit}>{t('edit')}</Button>
      {isMe ? (
        <Tooltip title={t('yourself')}><Button size="small" aria-disabled="true" className="ek-cannot">{t('disable')}</Button></Tooltip>
      ) : user.disabled ? (
        <Button size="small" loading={change.isPending} onClick={() => change.mutate({ method: 'PATCH', path, body: { disabled: false } })}>{t('enable')}</Button>
      ) : (
        <Popconfirm title={t('disableAsk', { name: user.name })} okText={t('disable')} cancelText={t('cancel')} onConfirm={() => change.mutate({ method: 'PATCH', path, body: { disabled: true } })}>
          <Button size="small">{t('disable')}</Button>
        </Popconfirm>
      )}
      {isMe ? (
        <Tooltip title={t('yourself')}><Button size="small" aria-disabled="true" className="ek-cannot">{t('remove')}</Button></Tooltip>
      ) : (
        <Popconfirm title={t('removeAsk', { name: user.name })} okText={t('remove')} cancelText={t('cancel')} okButtonProps={{ danger: true }} onConfirm={() => remove.mutate({ method: 'DELETE', path })}>
          <Button size="small" danger loading={remove.isPending}>{t('remove')}</Button>
        </Popconfirm>
      )}
    </span>
  );
}

/** The link with which somebody signs in for the first time. The token is behind the `#`: it reaches no server and no log. */
function Invitation({ user, onClose }: { user: ListedUser; onClose: () => void }) {
  const t = useText(texts);
  const link = `${window.location.origin}/sign-in#invitation=${encodeURIComponent(user.invitation ?? '')}&user=${encodeURIComponent(user.name)}`;
  return (
    <Modal title={t('linkTitle', { name: user.name })} open width={640} closable={false} mask={{ closable: false }} keyboard={false} footer={<Button type="primary" onClick={onClose}>{t('close')}</Button>}>
      <div className={css.link}>
        <Alert type="warning" showIcon title={t('linkHint')} />
        <Copied value={link} label={t('linkTitle', { name: user.name })} />
      </div>
    </Modal>
  );
}
