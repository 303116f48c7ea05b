import { Alert, Button, Form, Input, type InputRef } from 'antd';
import { useRef } from 'react';
import type { Refused } from '@/api/http';
import { useDeed } from '@/api/query';
import type { Session } from '@/api/types';
import { Problem } from '@/components/Problem';
import { useText } from '@/i18n/language';
import texts from './text';
import type { Way } from './way';

type OnDone = (now: Session) => void;
/** As the engine asks for it; it has the last word. */
const SHORTEST = 12;

export function PasswordForm({ onDone }: { onDone: OnDone }) {
  const t = useText(texts);
  const password = useRef<InputRef>(null);
  const [form] = Form.useForm();
  const signIn = useDeed<Session>({ quiet: true, onDone });
  const send = (given: { user: string; password: string }) =>
    signIn.mutate(
      { path: '/session', body: given },
      {
        onError: () => {
          form.setFieldValue('password', '');
          password.current?.focus();
        },
      },
    );
  return (
    <Form form={form} layout="vertical" size="large" requiredMark={false} onFinish={send}>
      {signIn.error && <Denied error={signIn.error} />}
      <Form.Item name="user" label={t('user')} rules={[{ required: true, message: t('needed') }]}>
        <Input autoComplete="username" autoFocus autoCapitalize="none" spellCheck={false} />
      </Form.Item>
      <Form.Item name="password" label={t('password')} rules={[{ required: true, message: t('needed') }]}>
        <Input.Password ref={password} autoComplete="current-password" />
      </Form.Item>
      <Button type="primary" htmlType="submit" block loading={signIn.isPending}>{t('signIn')}</Button>
    </Form>
  );
}

function Denied({ error }: { error: Refused }) {
  const t = useText(texts);
  if (error.status === 401) return <Alert type="error" showIcon role="alert" title={t('wrong')} />;
  if (error.status === 429) {
    return <Alert type="warning" showIcon role="alert" title={error.retryAfter ? t('locked', { n: error.retryAfter }) : t('lockedSome')} />;
  }
  return <Problem error={error} />;
}

/** Twice the same password. */
function NewPassword() {
  const t = useText(texts);
  return (
    <>
      <Form.Item name="password" label={t('passwordNew')} rules={[{ required: true, min: SHORTEST, message: t('short') }]}>
        <Input.Password autoComplete="new-password" />
      </Form.Item>
      <Form.Item
        name="again"
        label={t('passwordAgain')}
        dependencies={['password']}
        rules={[({ getFieldValue }) => ({ validator: async (_, value) => (value === getFieldValue('password') ? undefined : Promise.reject(new Error(t('differs')))) })]}
      >
        <Input.Password autoComplete="new-password" />
      </Form.Item>
    </>
  );
}

export function FirstForm({ token, onDone }: { token: string; onDone: OnDone }) {
  const t = useText(texts);
  const create = useDeed<Session>({ quiet: true, onDone });
  return (
    <>
      <h1>{t('firstTitle')}</h1>
      <p className="ek-dim">{t('firstAbout')}</p>
      <Form
        layout="vertical"
        requiredMark={false}
        initialValues={{ token, user: 'admin' }}
        onFinish={({ again: _, ...given }: Record<string, string>) => create.mutate({ path: '/session/first', body: given })}
      >
        {create.error && <Problem error={create.error} />}
        <Form.Item name="token" label={t('token')} rules={[{ required: true, message: t('needed') }]}>
          <Input autoComplete="one-time-code" spellCheck={false} autoFocus={token === ''} className="ek-code" />
        </Form.Item>
        <Form.Item name="user" label={t('user')} rules={[{ required: true, message: t('needed') }]}>
          <Input autoComplete="username" autoCapitalize="none" spellCheck={false} />
        </Form.Item>
        <Form.Item name="displayName" label={t('displayName')}><Input autoComplete="name" /></Form.Item>
        <NewPassword />
        <Button type="primary" size="large" htmlType="submit" block loading={create.isPending}>{t('create')}</Button>
      </Form>
    </>
  );
}

export function InvitedForm({ way, onDone }: { way: Way; onDone: OnDone }) {
  const t = useText(texts);
  const accept = useDeed<Session>({ quiet: true, onDone });
  return (
    <>
      <h1>{t('inviteTitle')}</h1>
      <p className="ek-dim">{t('inviteAbout')}</p>
      <Form
        layout="vertical"
        requiredMark={false}
        onFinish={({ password }: Record<string, string>) => accept.mutate({ path: '/session/invitation', body: { token: way.invitation, password } })}
      >
        {accept.error && <Problem error={accept.error} />}
        {way.user && <input type="hidden" autoComplete="username" value={way.user} readOnly />}
        <NewPassword />
        <Button type="primary" size="large" htmlType="submit" block loading={accept.isPending}>{t('accept')}</Button>
      </Form>
    </>
  );
}
