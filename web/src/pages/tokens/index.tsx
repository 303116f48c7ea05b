import { ClockCircleOutlined, CloseCircleFilled, LogoutOutlined, PlusOutlined } from '@ant-design/icons';
import { Button, Popconfirm, Segmented, Table, Tag } from 'antd';
import { useState } from 'react';
import { useDeed, useGet } from '@/api/query';
import { useSession } from '@/api/session';
import type { ApiToken, List } from '@/api/types';
import { Fetched, Nothing, Page, Part, Sign, Time, useNow } from '@/components';
import { useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import PasswordForm from '@/layout/PasswordForm';
import { Said } from '../text/Said';
import { NewToken } from './NewToken';
import { Secret } from './Secret';
import { lifeOf, scopeText } from './scopes';
import css from './tokens.module.css';
import texts from './text';

/** One's own tokens, password and sessions. */
export default function Tokens() {
  const t = useText(texts);
  const [isMaking, setMaking] = useState(false);
  const [made, setMade] = useState<ApiToken>();
  const { user } = useSession();
  const [whose, setWhose] = useParam('of', 'me');
  const tokens = useGet<List<ApiToken>>('/tokens', user?.isAdmin && whose === 'all' ? {} : { user: user?.name });
  const add = (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setMaking(true)}>
      {t('add')}
    </Button>
  );
  return (
    <Page title={t('title')} about={t('about')} actions={add}>
      <Part
        title={t('tokens')}
        flush
        extra={user?.isAdmin && <Segmented size="small" value={whose} onChange={setWhose} options={[{ value: 'me', label: t('mine') }, { value: 'all', label: t('everybodys') }]} />}
      >
        <Fetched of={tokens}>
          {({ items }) => (items.length === 0 ? <Nothing title={t('none')} hint={t('noneHint')} action={add} /> : <Mine tokens={items} />)}
        </Fetched>
      </Part>
      <Account />
      {isMaking && (
        <NewToken
          onClose={() => setMaking(false)}
          onMade={(token) => {
            setMaking(false);
            setMade(token);
          }}
        />
      )}
      {made?.token && <Secret name={made.name} token={made.token} onClose={() => setMade(undefined)} />}
    </Page>
  );
}

function Mine({ tokens }: { tokens: ApiToken[] }) {
  const t = useText(texts);
  const { user } = useSession();
  const now = useNow();
  const revoke = useDeed({ renews: ['/tokens'], said: () => t('revoked') });
  const others = tokens.some((token) => token.user !== user?.name);
  return (
    <Table<ApiToken>
      size="small"
      rowKey="id"
      dataSource={tokens}
      scroll={{ x: 900 }}
      pagination={tokens.length > 50 ? { pageSize: 50, showSizeChanger: false, size: 'small' } : false}
      columns={[
        {
          title: t('name'),
          render: (_, token) => (
            <>
              <b><Said text={token.name} /></b>
              <div className={css.prefix}><code>{token.prefix}…</code></div>
            </>
          ),
        },
        ...(others ? [{ title: t('user'), dataIndex: 'user', width: 150, render: (name: string) => <Said text={name} /> }] : []),
        {
          title: t('scopes'),
          render: (_, { scopes }) =>
            scopes.length === 0 ? <span className="ek-dim">{t('all')}</span> : scopes.map((scope, at) => <Tag key={at} className={css.scope}>{scopeText(scope, t('anyVerb'), t('anyKind'))}</Tag>),
        },
        { title: t('created'), dataIndex: 'createdAt', width: 110, render: (at: string) => <Time at={at} relative /> },
        {
          title: t('lastUsed'),
          width: 150,
          render: (_, token) => (
            <>
              <Time at={token.lastUsedAt} relative none={t('never')} />
              {token.lastUsedFrom && <div className={css.prefix}><Said text={t('from', { address: token.lastUsedFrom })} /></div>}
            </>
          ),
        },
        {
          title: t('expires'),
          width: 150,
          render: (_, token) => {
            const life = lifeOf(token.expiresAt, now);
            if (life === 'expired') return <Sign tone="bad" sign={<CloseCircleFilled />}>{t('expired')}</Sign>;
            return (
              <>
                <Time at={token.expiresAt} relative />
                {life === 'soon' && <div><Sign tone="warn" sign={<ClockCircleOutlined />}>{t('soon')}</Sign></div>}
              </>
            );
          },
        },
        {
          title: <span className="ek-hidden">{t('deeds')}</span>,
          width: 90,
          align: 'right',
          render: (_, token) => (
            <Popconfirm title={t('revokeAsk', { name: token.name })} okText={t('revoke')} cancelText={t('cancel')} okButtonProps={{ danger: true }} onConfirm={() => revoke.mutate({ method: 'DELETE', path: `/tokens/${encodeURIComponent(token.id)}` })}>
              <Button size="small" danger aria-label={`${t('revoke')} ${token.name}`}>{t('revoke')}</Button>
            </Popconfirm>
          ),
        },
      ]}
    />
  );
}

function Account() {
  const t = useText(texts);
  const { user } = useSession();
  const [isChanging, setChanging] = useState(false);
  const end = useDeed({ said: () => t('ended'), renews: ['/users'] });
  if (!user) return null;
  return (
    <Part title={t('account')}>
      <dl className={css.account}>
        <div>
          <dt>{t('user')}</dt>
          <dd><b><Said text={user.displayName || user.name} /></b> <span className="ek-dim"><Said text={[user.displayName && user.displayName !== user.name ? user.name : '', user.email].filter(Boolean).join(' · ')} /></span></dd>
        </div>
        <div>
          <dt>{t('groups')}</dt>
          <dd>{user.groups.length > 0 ? <span className="ek-labels">{user.groups.map((group) => <Tag key={group} className="ek-label"><Said text={group} /></Tag>)}</span> : <span className="ek-dim">{t('noGroups')}</span>}</dd>
        </div>
        <div>
          <dt>{t('signedInBy')}</dt>
          <dd>{user.kind in texts ? t(user.kind) : user.kind}</dd>
        </div>
        {user.kind === 'local' && (
          <div>
            <dt>{t('password')}</dt>
            <dd><Button size="small" onClick={() => setChanging(true)}>{t('changePassword')}</Button></dd>
          </div>
        )}
        <div>
          <dt>{t('sessions')}</dt>
          <dd>
            <Popconfirm title={t('endOthersAsk')} okText={t('endOthers')} cancelText={t('cancel')} onConfirm={() => end.mutate({ method: 'DELETE', path: '/session/others' })}>
              <Button size="small" icon={<LogoutOutlined />}>{t('endOthers')}</Button>
            </Popconfirm>{' '}
            <span className="ek-dim">{t('sessionsHint')}</span>
          </dd>
        </div>
      </dl>
      {isChanging && <PasswordForm onClose={() => setChanging(false)} />}
    </Part>
  );
}
