import { PlusOutlined } from '@ant-design/icons';
import { Input } from 'antd';
import { useMemo, useState } from 'react';
import { useGet } from '@/api/query';
import type { List } from '@/api/types';
import { DeleteDialog, type Doomed, EditDrawer, type Editing } from '@/components/object-editor';
import { Act, Fetched, Nothing, Page, Part } from '@/components';
import { useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import { CanBox } from './CanBox';
import { Legend, MatrixTable } from './MatrixTable';
import { matrix, type Role } from './matrix';
import { type RoleActs, RoleList } from './RoleList';
import texts from './text';

/** Roles in one answer; a fleet has some, and no more can be read as a table. */
const MOST = 1000;

/** What a new Role begins with. */
const TEMPLATE = `apiVersion: evenkeel.dev/v1alpha1
kind: Role
metadata:
  name: web-team
spec:
  subjects:
    - group: web
  allow:
    - verbs: [view, deploy]
      kinds: [Deployment]
      devices: {matchLabels: {role: web}}
  tests:
    - {subject: "group:web", may: deploy, kind: Deployment, expect: true}
`;

/** Who may what. */
export default function Roles() {
  const t = useText(texts);
  const [q, setQ] = useParam('q');
  const [editing, setEditing] = useState<Editing>();
  const [doomed, setDoomed] = useState<Doomed>();
  const roles = useGet<List<Role>>('/roles', { limit: MOST });
  return (
    <Page
      title={t('title')}
      about={`${t('about')} ${t('admins')}`}
      actions={
        <Act verb="edit" kind="Role" type="primary" icon={<PlusOutlined />} onAct={() => setEditing({ plural: 'roles', kind: 'Role', template: TEMPLATE })}>
          {t('add')}
        </Act>
      }
    >
      <Fetched of={roles} lines={8}>
        {({ items }) => (
          <>
            <CanBox />
            {items.length === 0 ? (
              <Part><Nothing title={t('empty')} hint={t('emptyHint')} /></Part>
            ) : (
              <Shown roles={items} q={q} onQ={setQ} onEdit={(name) => setEditing({ plural: 'roles', name })} onDelete={(name) => setDoomed({ plural: 'roles', name })} />
            )}
          </>
        )}
      </Fetched>
      <EditDrawer editing={editing} onClose={() => setEditing(undefined)} />
      <DeleteDialog doomed={doomed} onClose={() => setDoomed(undefined)} />
    </Page>
  );
}

function Shown({ roles, q, onQ, ...acts }: { roles: Role[]; q: string; onQ: (q: string) => void } & RoleActs) {
  const t = useText(texts);
  const lines = useMemo(() => matrix(roles), [roles]);
  const words = q.trim().toLowerCase();
  const shown = lines.filter((line) => [line.name, line.namespace, ...line.roles].some((text) => text.toLowerCase().includes(words)));
  const listed = roles.filter((role) => words === '' || role.metadata.name.toLowerCase().includes(words) || shown.some((line) => line.namespace === (role.metadata.namespace ?? 'default') && line.roles.includes(role.metadata.name)));
  return (
    <>
      <Part
        title={t('matrix')}
        flush
        extra={<Input.Search size="small" aria-label={t('filter')} placeholder={t('filter')} value={q} allowClear onChange={(event) => onQ(event.target.value)} />}
      >
        <Legend />
        {shown.length === 0 ? <Nothing title={t('noFit')} /> : <MatrixTable lines={shown} />}
      </Part>
      <Part title={t('roles')} flush>
        <RoleList roles={listed} {...acts} />
      </Part>
    </>
  );
}
