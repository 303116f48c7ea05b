import { MinusCircleOutlined, PlusOutlined } from '@ant-design/icons';
import { Button, Form, Input, Modal, Radio, Select } from 'antd';
import { useState } from 'react';
import { useDeed } from '@/api/query';
import type { ApiToken, Scope } from '@/api/types';
import { Problem } from '@/components';
import { useText } from '@/i18n/language';
import { KINDS, VERBS } from '../roles/matrix';
import { scopesOf } from './scopes';
import css from './tokens.module.css';
import texts from './text';

/** Days that are offered. */
const DAYS = [1, 7, 30, 90, 365];

/** Makes a token. */
export function NewToken({ onClose, onMade }: { onClose: () => void; onMade: (token: ApiToken) => void }) {
  const t = useText(texts);
  const [form] = Form.useForm<{ name: string; expiresIn: string }>();
  const [isNarrowed, setNarrowed] = useState(false);
  const [scopes, setScopes] = useState<Scope[]>([{ verbs: ['view'], kinds: [] }]);
  const [isWrong, setWrong] = useState(false);
  const make = useDeed<ApiToken>({ quiet: true, renews: ['/tokens'], onDone: onMade });
  const put = (at: number, part: Partial<Scope>): void => setScopes(scopes.map((scope, number) => (number === at ? { ...scope, ...part } : scope)));
  const send = ({ name, expiresIn }: { name: string; expiresIn: string }): void => {
    const sent = scopesOf(isNarrowed, scopes);
    setWrong(sent === undefined);
    if (sent) make.mutate({ path: '/tokens', body: { name: name.trim(), scopes: sent, expiresIn } });
  };
  return (
    <Modal title={t('add')} open onCancel={onClose} onOk={() => form.submit()} okText={t('create')} cancelText={t('cancel')} confirmLoading={make.isPending} width={560}>
      <Form form={form} layout="vertical" requiredMark={false} initialValues={{ name: '', expiresIn: '90d' }} onFinish={send}>
        {make.error && <Problem error={make.error} />}
        <Form.Item name="name" label={t('name')} extra={t('nameHint')} rules={[{ required: true, whitespace: true, message: t('nameNeeded') }]}>
          <Input autoFocus maxLength={128} autoComplete="off" />
        </Form.Item>
        <Form.Item label={t('scopes')} {...(isWrong && { validateStatus: 'error', help: t('scopeNeeded') })}>
          <Radio.Group value={isNarrowed} onChange={(event) => setNarrowed(event.target.value === true)} options={[{ value: false, label: t('all') }, { value: true, label: t('narrowed') }]} />
          {!isNarrowed && <div className="ek-dim">{t('allHint')}</div>}
          {isNarrowed && (
            <div className={css.scopes}>
              {scopes.map((scope, at) => (
                <div key={at} className={css.oneScope}>
                  <Select mode="multiple" aria-label={t('verbs')} placeholder={t('verbs')} value={scope.verbs} onChange={(verbs) => put(at, { verbs })} options={VERBS.map((value) => ({ value, label: value }))} />
                  <Select mode="multiple" aria-label={t('kinds')} placeholder={t('kinds')} value={scope.kinds} onChange={(kinds) => put(at, { kinds })} options={KINDS.map((value) => ({ value, label: value }))} />
                  <Button type="text" icon={<MinusCircleOutlined />} aria-label={t('removeScope')} disabled={scopes.length === 1} onClick={() => setScopes(scopes.filter((_, number) => number !== at))} />
                </div>
              ))}
              <Button size="small" type="dashed" icon={<PlusOutlined />} disabled={scopes.length >= 10} onClick={() => setScopes([...scopes, { verbs: [], kinds: [] }])}>{t('addScope')}</Button>
            </div>
          )}
        </Form.Item>
        <Form.Item name="expiresIn" label={t('expires')}>
          <Select className={css.expires} options={DAYS.map((days) => ({ value: `${days}d`, label: days === 365 ? t('year') : t('day', { n: days }) }))} />
        </Form.Item>
      </Form>
    </Modal>
  );
}
