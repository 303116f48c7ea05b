/** What makes the list less than the whole truth: receivers that nobody could tell, rules beyond their limit. */
import { Alert } from 'antd';
import { Link } from 'react-router';
import { useText } from '@/i18n/language';
import { visibleText } from '../text/visible';
import texts from './text';
import type { AlertList } from './types';

export function Banners({ list }: { list: AlertList | undefined }) {
  const t = useText(texts);
  const lost = Array.isArray(list?.undelivered) ? list.undelivered : [];
  const count = typeof list?.undelivered === 'number' ? list.undelivered : 0;
  const beyond = Object.entries(list?.beyondLimit ?? {});
  if (lost.length === 0 && count === 0 && beyond.length === 0) return null;
  const go = <Link to="/receivers?show=dead">{t('undeliveredGo')}</Link>;
  return (
    <div className="alert-banners">
      {lost.map((one) => (
        <Alert key={one.receiver} type="error" showIcon action={go} title={t('undelivered', { receiver: visibleText(one.receiver), n: one.count, problem: visibleText(one.problem) })} />
      ))}
      {count > 0 && <Alert type="error" showIcon action={go} title={t('undeliveredSome', { n: count })} />}
      {beyond.map(([rule, n]) => (
        <Alert key={rule} type="warning" showIcon title={t('beyond', { rule: visibleText(rule), n })} />
      ))}
    </div>
  );
}
