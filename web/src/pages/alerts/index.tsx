import { Badge, Button, Input, Segmented, Select, Skeleton, Tabs } from 'antd';
import { useMemo, useState } from 'react';
import { useList } from '@/api/query';
import type { List } from '@/api/types';
import { Nothing, Page, Problem, Severity } from '@/components';
import { useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import { usePaused } from '@/lib/pause';
import { SilenceDrawer } from '../silences/drawer';
import { fromAlert, type SilenceDraft } from '../silences/draft';
import { Acknowledge } from './acknowledge';
import { Banners } from './banners';
import { Group } from './group';
import { countOf, groupAlerts, type GroupBy, GROUPINGS, over, type Shelf, shelve } from './grouping';
import type { RowActs } from './row';
import texts from './text';
import type { Alert, AlertList } from './types';
import './alerts.css';

const SHELVES: Shelf[] = ['firing', 'pending', 'suppressed', 'resolved'];
const BY = { root: 'byRoot', severity: 'bySeverity', rule: 'byRule', device: 'byDevice', site: 'bySite' } as const;
const EMPTY = {
  firing: ['noneFiring', 'noneFiringHint'],
  pending: ['nonePending', 'nonePendingHint'],
  suppressed: ['noneSuppressed', 'noneSuppressedHint'],
  resolved: ['noneResolved', 'noneResolvedHint'],
} as const;
/** Groups that are shown before somebody asks for more. */
const GROUPS = 100;

export default function Alerts() {
  const t = useText(texts);
  const [shelf, setShelf] = useParam('show', 'firing');
  const [by, setBy] = useParam('by', 'root');
  const [q, setQ] = useParam('q');
  const [rule, setRule] = useParam('rule');
  const [device, setDevice] = useParam('device');
  const [severity, setSeverity] = useParam('severity');
  const [seen, setSeen] = useState<Alert[]>();
  const [draft, setDraft] = useState<SilenceDraft>();
  const [open, setOpen] = useState(false);
  const paused = usePaused(q);
  const read = useList<Alert, AlertList & { items: Alert[] }>('/alerts', { q: paused, rule }, { limit: 1000 });
  const shelves = useMemo(() => shelve(read.items.filter((alert) => (!severity || alert.severity === severity) && alert.device.includes(device.trim()))), [read.items, severity, device]);
  const shown: Shelf = SHELVES.includes(shelf as Shelf) ? (shelf as Shelf) : 'firing';
  // What is over for longer is asked for only where it is looked at.
  const past = useList<Alert, List<Alert>>('/alerts/history', { q: paused, rule, severity }, { enabled: shown === 'resolved' });
  const resolved = useMemo(() => over(shelves.resolved, past.items.filter((alert) => alert.device.includes(device.trim()))), [shelves, past.items, device]);
  const more = shown === 'resolved' ? past : read;
  const rules = useMemo(() => [...new Set(read.items.map((alert) => alert.rule))].sort(), [read.items]);
  const filtered = q !== '' || rule !== '' || device !== '' || severity !== '';
  const clear = () => {
    setQ('');
    setRule('');
    setDevice('');
    setSeverity('');
  };
  const acts: RowActs = { onAcknowledge: (alert) => setSeen([alert]), onSilence: (alert) => setDraft(fromAlert(alert)) };
  return (
    <Page title={t('title')} about={t('about')}>
      <Banners list={read.first} />
      <div className={`alert-filters ${open ? 'alert-filters-open' : ''}`}>
        <Input.Search allowClear className="alert-search" aria-label={t('search')} placeholder={t('search')} value={q} onChange={(event) => setQ(event.target.value)} />
        <Button className="alert-more-filters" aria-expanded={open} onClick={() => setOpen(!open)}>
          {t('filters')}
        </Button>
        <Select
          allowClear
          showSearch
          className="alert-rule"
          aria-label={t('rule')}
          placeholder={t('rule')}
          value={rule || undefined}
          onChange={(value: string | undefined) => setRule(value ?? '')}
          options={rules.map((value) => ({ value, label: value }))}
        />
        <Input allowClear className="alert-device" aria-label={t('device')} placeholder={t('device')} value={device} onChange={(event) => setDevice(event.target.value)} />
        <Select
          allowClear
          className="alert-severities"
          aria-label={t('severity')}
          placeholder={t('severity')}
          value={severity || undefined}
          onChange={(value: string | undefined) => setSeverity(value ?? '')}
          options={(['critical', 'warning', 'info'] as const).map((value) => ({ value, label: <Severity value={value} bare /> }))}
        />
        <div className="alert-by">
          <span className="ek-dim">{t('groupBy')}</span>
          <Segmented size="small" aria-label={t('groupBy')} value={by} onChange={setBy} options={GROUPINGS.map((value) => ({ value, label: t(BY[value]) }))} />
        </div>
      </div>
      <Tabs
        className="ek-shelves"
        activeKey={shown}
        onChange={setShelf}
        items={SHELVES.map((key) => ({
          key,
          label: (
            <span>
              {t(key)}{countOf(shelves[key]) > 0 && ' '}<Badge count={countOf(shelves[key])} overflowCount={9999} color={key === 'firing' && shelves[key].length > 0 ? undefined : 'var(--ek-color-fill)'} className={`alert-badge alert-badge-${key}`} />
            </span>
          ),
        }))}
      />
      {read.error && <Problem error={read.error} retry={() => void read.refetch()} />}
      {shown === 'resolved' && past.error && <Problem error={past.error} retry={() => void past.refetch()} />}
      {(read.isPending || (shown === 'resolved' && past.isLoading)) && <Skeleton active title={false} paragraph={{ rows: 6 }} />}
      {read.data && !(shown === 'resolved' && past.isLoading) && <Shelved alerts={shown === 'resolved' ? resolved : shelves[shown]} quiet={shelves.suppressed.length} onQuiet={() => setShelf('suppressed')} shelf={shown} by={GROUPINGS.includes(by as GroupBy) ? (by as GroupBy) : 'root'} acts={acts} filtered={filtered} onClear={clear} />}
      {more.hasNextPage && (
        <Button loading={more.isFetchingNextPage} onClick={() => void more.fetchNextPage()}>
          {t('more')}
        </Button>
      )}
      <Acknowledge alerts={seen} onClose={() => setSeen(undefined)} />
      <SilenceDrawer draft={draft} onClose={() => setDraft(undefined)} />
    </Page>
  );
}

interface ShelvedProps {
  alerts: Alert[];
  /** How many fire and are not said. */
  quiet: number;
  onQuiet: () => void;
  shelf: Shelf;
  by: GroupBy;
  acts: RowActs;
  filtered: boolean;
  onClear: () => void;
}

function Shelved({ alerts, quiet, onQuiet, shelf, by, acts, filtered, onClear }: ShelvedProps) {
  const t = useText(texts);
  const [most, setMost] = useState(GROUPS);
  const groups = useMemo(
    () =>
      shelf === 'resolved'
        ? [{ key: '', heads: alerts, behind: [], behindCount: 0, severity: 'info' as const, since: '' }].filter((group) => group.heads.length > 0)
        : groupAlerts(alerts, by),
    [alerts, by, shelf],
  );
  if (groups.length === 0) {
    const [title, hint] = EMPTY[shelf];
    if (!filtered && shelf === 'firing' && quiet > 0) return <Nothing title={t('noneSaid')} hint={t('noneSaidHint', { n: quiet })} action={<Button onClick={onQuiet}>{t('showSuppressed')}</Button>} />;
    return filtered ? <Nothing title={t('noMatch')} action={<Button onClick={onClear}>{t('clear')}</Button>} /> : <Nothing title={t(title)} hint={t(hint)} />;
  }
  return (
    <div className="alert-list">
      {groups.slice(0, most).map((group) => (
        <Group key={group.key} group={group} by={shelf === 'resolved' ? 'root' : by} acts={acts} />
      ))}
      {groups.length > most && (
        <Button onClick={() => setMost(most + GROUPS)}>
          {t('more')} ({groups.length - most})
        </Button>
      )}
    </div>
  );
}
