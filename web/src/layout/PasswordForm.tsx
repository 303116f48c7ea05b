import { App, Form, Input, Modal } from 'antd';
import { useDeed } from '@/api/query';
import { Problem } from '@/components/Problem';
import words from '@/components/text';
import frame from '@/i18n/frame';
import { useText } from '@/i18n/language';

/** As the engine asks for it; it has the last word. */
export const SHORTEST = 12;

export default function PasswordForm({ onClose }: { onClose: () => void }) {
  const t = useText(frame);
  const w = useText(words);
  const { message } = App.useApp();
  const [form] = Form.useForm<{ old: string; new: string; again: string }>();
  const change = useDeed({
    quiet: true,
    onDone: () => {
      message.success(t('passwordDone'));
      onClose();
    },
  });
  return (
    <Modal title={t('password')} open onCancel={onClose} onOk={() => form.submit()} okText={t('save')} cancelText={w('cancel')} confirmLoading={change.isPending}>
      <Form form={form} layout="vertical" requiredMark={false} onFinish={(given) => change.mutate({ path: '/session/password', body: { old: given.old, new: given.new } })}>
        {change.error && <Problem error={change.error} />}
        <Form.Item name="old" label={t('passwordOld')} rules={[{ required: true, message: t('needed') }]}>
          <Input.Password autoComplete="current-password" autoFocus />
        </Form.Item>
        <Form.Item name="new" label={t('passwordNew')} rules={[{ required: true, min: SHORTEST, message: t('passwordShort') }]}>
          <Input.Password autoComplete="new-password" />
        </Form.Item>
        <Form.Item
          name="again"
          label={t('passwordAgain')}
          dependencies={['new']}
          rules={[({ getFieldValue }) => ({ validator: async (_, value) => (value === getFieldValue('new') ? undefined : Promise.reject(new Error(t('passwordDiffers')))) })]}
        >
          <Input.Password autoComplete="new-password" />
        </Form.Item>
      </Form>
    </Modal>
  );
}
