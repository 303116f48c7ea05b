/** Says that somebody looks after alerts: what they do, and until when nobody else need be told. */
import { App, Button, DatePicker, Form, Input, Modal, Radio } from 'antd';
import dayjs, { type Dayjs } from 'dayjs';
import { useState } from 'react';
import { useQueryClient } from '@tanstack/react-query';
import { call, Refused } from '@/api/http';
import { renew } from '@/api/query';
import { Problem } from '@/components';
import { useText } from '@/i18n/language';
import { bytesOf, COMMENT } from '@/lib/comment';
import { visibleText } from '../text/visible';
import { after, CHOICES } from './spans';
import texts from './text';
import type { Alert } from './types';

export function Acknowledge({ alerts, onClose }: { alerts: Alert[] | undefined; onClose: () => void }) {
  const t = useText(texts);
  return (
    <Modal open={alerts !== undefined} title={t('ackTitle', { n: alerts?.length ?? 0 })} footer={null} onCancel={onClose} destroyOnHidden>
      {alerts && <Fields alerts={alerts} onClose={onClose} />}
    </Modal>
  );
}

interface Values {
  comment: string;
  hours: number;
  until?: Dayjs;
}

function Fields({ alerts, onClose }: { alerts: Alert[]; onClose: () => void }) {
  const t = useText(texts);
  const { message } = App.useApp();
  const queries = useQueryClient();
  const [form] = Form.useForm<Values>();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Refused>();
  const hours = Form.useWatch('hours', form);
  const fits = async (_: unknown, comment = ''): Promise<void> => {
    if (bytesOf(comment.trim()) > COMMENT) throw new Error(t('commentLong', { n: COMMENT }));
  };
  const send = async ({ comment, hours, until }: Values) => {
    const body = { comment: comment.trim(), until: hours === 0 && until ? after(0, until.valueOf()) : after(hours, Date.now()) };
    setBusy(true);
    setError(undefined);
    let done = 0;
    try {
      for (const alert of alerts) {
        await call('POST', `/alerts/${encodeURIComponent(alert.id)}/acknowledge`, { body });
        done += 1;
      }
      message.success(t('ackDone'));
      onClose();
    } catch (problem) {
      if (!(problem instanceof Refused)) throw problem;
      setError(problem);
      if (done > 0) message.warning(t('ackSome', { done, n: alerts.length, why: problem.message }));
    } finally {
      setBusy(false);
      renew(queries, ['/alerts', ...alerts.map((alert) => `/alerts/${encodeURIComponent(alert.id)}`)]);
    }
  };
  return (
    <Form form={form} layout="vertical" initialValues={{ hours: 4 }} onFinish={(values) => void send(values)}>
      <ul className="ack-list">
        {alerts.slice(0, 5).map((alert) => (
          <li key={alert.id}>{visibleText(alert.summary)}</li>
        ))}
      </ul>
      <p className="ek-dim">{t('ackMeans')}</p>
      <Form.Item name="comment" label={t('ackComment')} rules={[{ required: true, whitespace: true, message: t('ackCommentNeeded') }, { validator: fits }]}>
        <Input.TextArea rows={2} autoFocus />
      </Form.Item>
      <Form.Item name="hours" label={t('ackUntil')}>
        <Radio.Group optionType="button" options={[...CHOICES.map(({ key, hours }) => ({ label: t(key), value: hours })), { label: t('atTime'), value: 0 }]} />
      </Form.Item>
      {hours === 0 && (
        <Form.Item name="until" rules={[{ required: true, message: t('ackUntil') }]}>
          <DatePicker showTime={{ format: 'HH:mm' }} format="YYYY-MM-DD HH:mm" minDate={dayjs()} aria-label={t('ackUntil')} />
        </Form.Item>
      )}
      {error && <Problem error={error} />}
      <div className="ack-buttons">
        <Button onClick={onClose}>{t('cancel')}</Button>
        <Button type="primary" htmlType="submit" loading={busy}>
          {t('acknowledge')}
        </Button>
      </div>
    </Form>
  );
}
