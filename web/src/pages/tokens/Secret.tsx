import { CopyOutlined } from '@ant-design/icons';
import { Alert, App, Button, Input, Modal } from 'antd';
import { useText } from '@/i18n/language';
import { usage } from './scopes';
import css from './tokens.module.css';
import texts from './text';

/** A secret that is shown once. It is closed only by whoever says that they have kept it. */
export function Secret({ name, token, onClose }: { name: string; token: string; onClose: () => void }) {
  const t = useText(texts);
  const { commandLine, curl } = usage(window.location.origin, token);
  return (
    <Modal
      title={`${t('secretTitle')}: ${name}`}
      open
      width={640}
      closable={false}
      mask={{ closable: false }}
      keyboard={false}
      footer={<Button type="primary" onClick={onClose}>{t('close')}</Button>}
    >
      <div className={css.secret}>
        <Alert type="warning" showIcon title={t('secretHint')} />
        <Copied value={token} label={t('secretTitle')} />
        <h3>{t('onCommandLine')}</h3>
        <pre>{commandLine}</pre>
        <h3>{t('byCurl')}</h3>
        <pre>{curl}</pre>
      </div>
    </Modal>
  );
}

/** A value in a field of its own, with a button that copies it. */
export function Copied({ value, label }: { value: string; label: string }) {
  const t = useText(texts);
  const { message } = App.useApp();
  return (
    <div className={css.copied}>
      <Input readOnly value={value} aria-label={label} className={css.value} onFocus={(event) => event.target.select()} />
      <Button icon={<CopyOutlined />} onClick={() => void navigator.clipboard.writeText(value).then(() => message.success(t('copied')))}>{t('copy')}</Button>
    </div>
  );
}
