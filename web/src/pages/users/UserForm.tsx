import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Form, Input, Modal, Radio, Select, Skeleton } from 'antd';
import { type Refused, request } from '@/api/http';
import { useDeed } from '@/api/query';
import { Problem } from '@/components';
import { useText } from '@/i18n/language';
import { SHORTEST } from '@/layout/PasswordForm';
import { changedOf, type ListedUser, ownGroups } from './model';
import texts from './text';

type Fields = { name: string; displayName?: string; email?: string; groups?: string[]; how: 'invite' | 'password'; password?: string };

/** As the engine takes names; it has the last word. */
const NAME = /^[\w.@+-]{1,64}$/;

interface Props {
  onClose: () => void;
  onDone: (done: ListedUser | undefined) => void;
}

/** A user as they are now, with the tag of that, so that nobody's change is overwritten unseen. */
interface Read {
  user: ListedUser;
  etag: string | null;
}

const pathOf = (name: string) => `/users/${encodeURIComponent(name)}`;

/** Changes a user, who is read anew for it. */
export function EditUser({ name, onClose, onDone }: Props & { name: string }) {
  const t = useText(texts);
  const read = useQuery<Read, Refused>({
    queryKey: [`${pathOf(name)}#form`],
    queryFn: async ({ signal }) => {
      const response = await request('GET', pathOf(name), { signal });
      return { user: (await response.json()) as ListedUser, etag: response.headers.get('ETag') };
    },
    gcTime: 0,
    staleTime: Number.POSITIVE_INFINITY,
  });
  if (read.data) return <UserForm key={read.dataUpdatedAt} user={read.data.user} etag={read.data.etag} onReload={() => void read.refetch()} onClose={onClose} onDone={onDone} />;
  return (
    <Modal title={t('editUser', { name })} open onCancel={onClose} footer={null}>
      {read.error ? <Problem error={read.error} retry={() => void read.refetch()} /> : <Skeleton active title={false} />}
    </Modal>
  );
}

/** Makes a user, or changes the one that was read. */
export function UserForm({ user, etag, onReload, onClose, onDone }: Props & { user?: ListedUser; etag?: string | null; onReload?: () => void }) {
  const t = useText(texts);
  const [form] = Form.useForm<Fields>();
  const how = Form.useWatch('how', form) ?? 'invite';
  const deed = useDeed<ListedUser | undefined>({ quiet: true, renews: ['/users'], onDone, said: (done) => t(user ? 'changed' : 'made', { name: user?.name ?? done?.name ?? '' }) });
  const send = ({ name, displayName = '', email = '', groups = [], how, password }: Fields): void => {
    const shared = { displayName: displayName.trim(), email: email.trim(), groups };
    if (user) {
      const changed = changedOf(user, shared);
      if (Object.keys(changed).length === 0) onClose();
      else deed.mutate({ method: 'PATCH', path: pathOf(user.name), body: changed, ...(etag && { ifMatch: etag }) });
    } else deed.mutate({ path: '/users', body: { name: name.trim(), ...shared, ...(how === 'password' && { password }) } });
  };
  return (
    <Modal
      title={user ? t('editUser', { name: user.name }) : t('add')}
      open
      onCancel={onClose}
      onOk={() => form.submit()}
      okText={t(user ? 'save' : 'create')}
      cancelText={t('cancel')}
      confirmLoading={deed.isPending}
    >
      <Form<Fields> form={form} layout="vertical" requiredMark={false} initialValues={{ ...user, groups: user && ownGroups(user), how: 'invite' }} onFinish={send}>
        {deed.error?.status === 412 ? (
          <Alert type="warning" showIcon role="alert" title={t('moved')} action={<Button size="small" onClick={onReload}>{t('reload')}</Button>} />
        ) : (
          deed.error && <Problem error={deed.error} />
        )}
        {!user && (
          <Form.Item name="name" label={t('name')} extra={t('nameHint')} rules={[{ required: true, pattern: NAME, message: t('nameBad') }]}>
            <Input autoFocus autoComplete="off" maxLength={64} />
          </Form.Item>
        )}
        <Form.Item name="displayName" label={t('displayName')}>
          <Input autoComplete="off" maxLength={128} />
        </Form.Item>
        <Form.Item name="email" label={t('email')} rules={[{ type: 'email', message: t('emailBad') }]}>
          <Input autoComplete="off" maxLength={254} />
        </Form.Item>
        <Form.Item name="groups" label={t('groups')} extra={t('groupsHint')}>
          <Select mode="tags" tokenSeparators={[',', ' ']} options={['admins'].map((value) => ({ value, label: value }))} />
        </Form.Item>
        {!user && (
          <Form.Item name="how" label={t('how')} extra={how === 'invite' ? t('inviteHint') : undefined}>
            <Radio.Group options={[{ value: 'invite', label: t('invite') }, { value: 'password', label: t('password') }]} />
          </Form.Item>
        )}
        {!user && how === 'password' && (
          <Form.Item name="password" label={t('passwordField')} rules={[{ required: true, min: SHORTEST, message: t('passwordBad') }]}>
            <Input.Password autoComplete="new-password" maxLength={1024} />
          </Form.Item>
        )}
      </Form>
    </Modal>
  );
}
