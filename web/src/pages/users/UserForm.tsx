import { Form, Input, Modal, Radio, Select } from 'antd';
import { useState } from 'react';
import { deedKey } from '@/api/http';
import { useDeed } from '@/api/query';
import { Problem } from '@/components';
import { useText } from '@/i18n/language';
import { SHORTEST } from '@/layout/PasswordForm';
import { changedOf, type ListedUser, ownGroups } from './model';
import texts from './text';

type Fields = { name: string; displayName?: string; email?: string; groups?: string[]; how: 'invite' | 'password'; password?: string };

/** As the engine takes names; it has the last word. */
const NAME = /^[\w.@+-]{1,64}$/;

/** Makes a user, or changes one. */
export function UserForm({ user, onClose, onDone }: { user: ListedUser | undefined; onClose: () => void; onDone: (done: ListedUser | undefined) => void }) {
  const t = useText(texts);
  const [form] = Form.useForm<Fields>();
  const how = Form.useWatch('how', form) ?? 'invite';
  const [key] = useState(deedKey);
  const deed = useDeed<ListedUser | undefined>({ quiet: true, renews: ['/users'], onDone, said: (done) => t(user ? 'changed' : 'made', { name: user?.name ?? done?.name ?? '' }) });
  const send = ({ name, displayName = '', email = '', groups = [], how, password }: Fields): void => {
    const shared = { displayName: displayName.trim(), email: email.trim(), groups };
    if (user) {
      const changed = changedOf(user, shared);
      if (Object.keys(changed).length === 0) onClose();
      else deed.mutate({ method: 'PATCH', path: `/users/${encodeURIComponent(user.name)}`, body: changed });
    } else deed.mutate({ path: '/users', body: { name: name.trim(), ...shared, ...(how === 'password' && { password }) }, idempotencyKey: key });
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
        {deed.error && <Problem error={deed.error} />}
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
