/** Makes a Silence: of an alert, or of whatever labels are given; what it would mute is shown while it is written. */
import { DeleteOutlined, PlusOutlined } from '@ant-design/icons';
import { Button, DatePicker, Drawer, Input, Radio } from 'antd';
import dayjs from 'dayjs';
import { useState } from 'react';
import { deedKey } from '@/api/http';
import { useDeed } from '@/api/query';
import type { Written } from '@/api/types';
import { Problem, Selector } from '@/components';
import { CommitFollow } from '@/components/object-editor';
import { useText } from '@/i18n/language';
import { after, CHOICES, LONGEST_DAYS } from '../alerts/spans';
import { lacks, type Matcher, nameOf, type SilenceDraft, specOf } from './draft';
import { Preview } from './preview';
import texts from './text';
import './silences.css';

/** Characters of a reason, as the kind has it. */
const REASON = 256;

export function SilenceDrawer({ draft, onClose }: { draft: SilenceDraft | undefined; onClose: () => void }) {
  const t = useText(texts);
  return (
    <Drawer open={draft !== undefined} onClose={onClose} title={t('newTitle')} size={640} destroyOnHidden>
      {draft && <Fields begin={draft} onClose={onClose} />}
    </Drawer>
  );
}

function Fields({ begin, onClose }: { begin: SilenceDraft; onClose: () => void }) {
  const t = useText(texts);
  const [opened] = useState(() => Date.now());
  const [key] = useState(deedKey);
  const [draft, setDraft] = useState(begin);
  const [tried, setTried] = useState(false);
  const [written, setWritten] = useState<Written>();
  const set = (more: Partial<SilenceDraft>) => setDraft((before) => ({ ...before, ...more }));
  const deed = useDeed<Written | undefined>({
    quiet: true,
    renews: ['/silences', '/alerts'],
    said: (answer) => (answer?.commit ? t('committed', { commit: answer.commit.slice(0, 12) }) : t('created')),
    onDone: (answer) => (answer?.commit ? setWritten(answer) : onClose()),
  });
  const lacking = lacks(draft, opened);
  const spec = specOf(draft, opened);
  const noReason = draft.reason.trim() === '';
  const create = () => {
    setTried(true);
    if (lacking || noReason) return;
    const body = {
      apiVersion: 'evenkeel.dev/v1alpha1',
      kind: 'Silence',
      metadata: { namespace: draft.namespace, name: nameOf(draft, opened) },
      spec: specOf(draft, Date.now()),
    };
    deed.mutate({ path: '/silences', body, idempotencyKey: key });
  };
  if (written) return <CommitFollow written={written} onClose={onClose} />;
  return (
    <div className="silence-form">
      <Matchers matchers={draft.matchers} onChange={(matchers) => set({ matchers })} />
      <div className="silence-field">
        <span>{t('devices')}</span>
        <Selector value={draft.devices} onChange={(devices) => set({ devices })} width={420} />
        <span className="ek-dim">{t('devicesHint')}</span>
      </div>
      <div className="silence-field">
        <span id="silence-until">{t('untilField')}</span>
        <Radio.Group
          aria-labelledby="silence-until"
          optionType="button"
          value={draft.hours}
          onChange={(event) => set({ hours: event.target.value as number })}
          options={[...CHOICES.map(({ key, hours }) => ({ label: t(key), value: hours })), { label: t('atTime'), value: 0 }]}
        />
        {draft.hours === 0 && (
          <DatePicker
            showTime={{ format: 'HH:mm' }}
            format="YYYY-MM-DD HH:mm"
            aria-label={t('untilField')}
            minDate={dayjs(opened)}
            maxDate={dayjs(opened).add(LONGEST_DAYS, 'day')}
            value={draft.until ? dayjs(draft.until) : null}
            onChange={(at) => set(at ? { until: after(0, at.valueOf()) } : { until: '' })}
          />
        )}
        <span className="ek-dim">{t('untilHint')}</span>
      </div>
      <div className="silence-field">
        <span>{t('reason')}</span>
        <Input.TextArea aria-label={t('reason')} rows={2} maxLength={REASON} value={draft.reason} status={tried && noReason ? 'error' : ''} onChange={(event) => set({ reason: event.target.value })} />
        {tried && noReason && <span className="silence-wrong">{t('reasonNeeded')}</span>}
      </div>
      {lacking ? <p className={tried ? 'silence-wrong' : 'ek-dim'}>{t(lacking)}</p> : <Preview spec={spec} namespace={draft.namespace} />}
      {deed.error && <Problem error={deed.error} />}
      <div className="silence-buttons">
        <Button onClick={onClose}>{t('cancel')}</Button>
        <Button type="primary" loading={deed.isPending} onClick={create}>
          {t('create')}
        </Button>
      </div>
    </div>
  );
}

function Matchers({ matchers, onChange }: { matchers: Matcher[]; onChange: (matchers: Matcher[]) => void }) {
  const t = useText(texts);
  const at = (index: number, more: Partial<Matcher>) => onChange(matchers.map((one, place) => (place === index ? { ...one, ...more } : one)));
  return (
    <fieldset className="silence-field silence-matchers">
      <legend>{t('matchers')}</legend>
      {matchers.map((matcher, index) => (
        <div key={index} className="silence-matcher">
          <Input aria-label={t('key')} placeholder="site" value={matcher.key} onChange={(event) => at(index, { key: event.target.value })} />
          <span aria-hidden>=</span>
          <Input aria-label={t('value')} placeholder="ams1" value={matcher.value} onChange={(event) => at(index, { value: event.target.value })} />
          <Button aria-label={t('removeMatcher')} icon={<DeleteOutlined />} type="text" onClick={() => onChange(matchers.filter((_, place) => place !== index))} />
        </div>
      ))}
      <Button size="small" icon={<PlusOutlined />} onClick={() => onChange([...matchers, { key: '', value: '' }])}>
        {t('addMatcher')}
      </Button>
      <span className="ek-dim">{t('matchersHint')}</span>
    </fieldset>
  );
}
