import { CheckCircleFilled, CloseCircleFilled } from '@ant-design/icons';
import { Button, Input, Select } from 'antd';
import { useState } from 'react';
import { useSearchParams } from 'react-router';
import { useGet } from '@/api/query';
import type { CanAnswer } from '@/api/types';
import { Part, Problem } from '@/components';
import { useText } from '@/i18n/language';
import { Said } from '../text/Said';
import { KINDS, VERBS } from './matrix';
import css from './roles.module.css';
import texts from './text';

/** What is asked. */
export type Question = { subject: string; verb: string; kind: string; namespace: string; name: string };

/** "Can X do Y?", answered by the engine, with the nearest miss as the reason. The question is in the address. */
export function CanBox() {
  const t = useText(texts);
  const [params, setParams] = useSearchParams();
  const asked: Question | undefined = params.has('verb')
    ? { subject: params.get('subject') ?? '', verb: params.get('verb') ?? '', kind: params.get('kind') ?? 'Device', namespace: params.get('ns') ?? 'default', name: params.get('name') ?? '' }
    : undefined;
  const [question, setQuestion] = useState<Question>(asked ?? { subject: '', verb: 'view', kind: 'Device', namespace: 'default', name: '' });
  const put = (part: Partial<Question>): void => setQuestion({ ...question, ...part });
  const ask = (): void =>
    setParams((before) => {
      const next = new URLSearchParams(before);
      const { namespace: ns, ...rest } = question;
      for (const [key, value] of Object.entries({ ...rest, ns })) value.trim() ? next.set(key, value.trim()) : next.delete(key);
      return next;
    });
  return (
    <Part title={t('can')} extra={<span className="ek-dim">{t('canAbout')}</span>}>
      <form
        className={css.ask}
        onSubmit={(event) => {
          event.preventDefault();
          ask();
        }}
      >
        <Input className={css.subject} aria-label={t('subject')} placeholder={`${t('subject')} (${t('myself')})`} value={question.subject} maxLength={2048} onChange={(event) => put({ subject: event.target.value })} />
        <span>{t('verb')}</span>
        <Select className={css.verb} aria-label={t('verb')} value={question.verb} onChange={(verb) => put({ verb })} options={VERBS.map((value) => ({ value, label: value }))} />
        <span>{t('kind')}</span>
        <Select className={css.verb} aria-label={t('kind')} value={question.kind} onChange={(kind) => put({ kind })} options={KINDS.map((value) => ({ value, label: value }))} />
        <Input className={css.name} aria-label={t('name')} placeholder={t('name')} value={question.name} maxLength={253} onChange={(event) => put({ name: event.target.value })} />
        <span>{t('namespace')}</span>
        <Input className={css.namespace} aria-label={t('namespace')} value={question.namespace} maxLength={253} onChange={(event) => put({ namespace: event.target.value })} />
        <Button type="primary" htmlType="submit">{t('ask')}</Button>
      </form>
      {asked && <Answer question={asked} />}
    </Part>
  );
}

/** The answer to a question; also to one that a Role's test asks. */
export function useAnswer({ subject, verb, kind, namespace, name }: Question, enabled = true) {
  return useGet<CanAnswer>('/can', { subject, verb, kind, namespace, name }, { enabled });
}

function Answer({ question }: { question: Question }) {
  const t = useText(texts);
  const answer = useAnswer(question);
  if (answer.error) return <Problem error={answer.error} retry={() => void answer.refetch()} />;
  if (!answer.data) return <p className={css.answer} aria-busy="true">…</p>;
  const { allowed, reason, role, entry, groups = [] } = answer.data;
  return (
    <div className={`${css.answer} ${allowed ? css.yes : css.no}`} role="status">
      {allowed ? <CheckCircleFilled aria-hidden="true" /> : <CloseCircleFilled aria-hidden="true" />}
      <b>{t(allowed ? 'yes' : 'no')}</b>
      <span>
        {!allowed && <span className="ek-dim">{t('nearest')}: </span>}
        {allowed && role ? <Said text={t('by', { role: `role/${role}`, entry: String(entry ?? '') })} /> : <Said text={reason} />}
        {groups.length > 0 && <span className="ek-dim"> <Said text={t('inGroups', { groups: groups.join(', ') })} /></span>}
      </span>
    </div>
  );
}
