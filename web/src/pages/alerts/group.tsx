/** Alerts that belong together: what to look at, and below it what is there only because of it. */
import { DownOutlined, RightOutlined } from '@ant-design/icons';
import { Button } from 'antd';
import { useState } from 'react';
import { Name, Severity } from '@/components';
import { useText } from '@/i18n/language';
import { visibleText } from '../text/visible';
import type { AlertGroup, GroupBy } from './grouping';
import { AlertRow, type RowActs } from './row';
import texts from './text';

/** Alerts of a group that are shown before somebody asks for the others. */
const MOST = 50;

export function Group({ group, by, acts }: { group: AlertGroup; by: GroupBy; acts: RowActs }) {
  const t = useText(texts);
  const [open, setOpen] = useState(false);
  const [most, setMost] = useState(MOST);
  const heads = group.heads.slice(0, most);
  return (
    <section className="alert-group" aria-label={group.key || t('noSite')}>
      {by !== 'root' && (
        <header className="alert-group-head">
          <GroupTitle group={group} by={by} />
          <span className="ek-dim">{t('count', { n: group.heads.length })}</span>
        </header>
      )}
      {by === 'root' && group.heads.length === 0 && (
        <article className={`alert alert-${group.severity}`}>
          <div className="alert-severity">
            <Severity value={group.severity} bare />
          </div>
          <div className="alert-words">
            <Name kind="Device" of={group.key} />
            <span className="ek-dim">{t('rootOnly', { device: visibleText(group.key) })}</span>
          </div>
        </article>
      )}
      {heads.map((alert) => (
        <AlertRow key={`${alert.id} ${alert.resolvedAt ?? ''}`} alert={alert} {...acts} />
      ))}
      {group.heads.length > heads.length && (
        <Button type="link" size="small" onClick={() => setMost(most + MOST * 4)}>
          {t('more')} ({group.heads.length - heads.length})
        </Button>
      )}
      {group.behind.length > 0 && (
        <div className="alert-behind">
          <Button type="text" size="small" icon={open ? <DownOutlined /> : <RightOutlined />} aria-expanded={open} onClick={() => setOpen(!open)}>
            {open ? t('behindHide') : t('behindShow', { n: group.behind.length })}
          </Button>
          {open && group.behind.slice(0, most).map((alert) => <AlertRow key={`${alert.id} ${alert.resolvedAt ?? ''}`} alert={alert} {...acts} />)}
        </div>
      )}
    </section>
  );
}

function GroupTitle({ group, by }: { group: AlertGroup; by: GroupBy }) {
  const t = useText(texts);
  switch (by) {
    case 'severity':
      return <Severity value={group.key} />;
    case 'rule':
      return <Name kind="AlertRule" of={group.key} />;
    case 'device':
      return <Name kind="Device" of={group.key} />;
    default:
      return <strong>{visibleText(group.key) || t('noSite')}</strong>;
  }
}
