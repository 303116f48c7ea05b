import { CheckCircleFilled, CloseCircleFilled, PauseCircleFilled, PlusOutlined, WarningFilled } from '@ant-design/icons';
import { Button, Input, Select, Table, type TableColumnsType } from 'antd';
import { useMemo, useState } from 'react';
import { Link } from 'react-router';
import { useList } from '@/api/query';
import { Act, Name, Nothing, Page, Problem, Severity, Sign } from '@/components';
import { EditDrawer, type Editing } from '@/components/object-editor';
import { useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import { parseName, shownName } from '@/lib/name';
import { usePaused } from '@/lib/pause';
import { rankOf } from '../alerts/grouping';
import type { Alert, AlertList } from '../alerts/types';
import { visibleText } from '../text/visible';
import texts from './text';
import { type AlertRule, nameOf, stateOf } from './types';
import './rules.css';

const TEMPLATE = `apiVersion: evenkeel.dev/v1alpha1
kind: AlertRule
metadata:
  name: my-rule
spec:
  selector: {}
  expr: usage.memory.ratio > 0.9
  for: 5m
  severity: warning
  summary: "{{ device.name }}: memory at {{ value | percent }}"
  tests:
    - given: {usage.memory.ratio: 0.95x10}
      at: 6m
      expect: firing
`;

/** How many alerts of each state a rule has, by its full name. */
function counted(alerts: Alert[]): Map<string, { firing: number; pending: number }> {
  const counts = new Map<string, { firing: number; pending: number }>();
  for (const { rule, state } of alerts) {
    if (state !== 'firing' && state !== 'pending') continue;
    const key = shownName(parseName(rule));
    const of = counts.get(key) ?? { firing: 0, pending: 0 };
    of[state] += 1;
    counts.set(key, of);
  }
  return counts;
}

interface Row {
  rule: AlertRule;
  firing: number;
  pending: number;
  beyond: number;
}

export default function Rules() {
  const t = useText(texts);
  const [typed, setTyped] = useParam('q');
  const [severity, setSeverity] = useParam('severity');
  const [editing, setEditing] = useState<Editing>();
  const q = usePaused(typed);
  const read = useList<AlertRule>('/alertrules', { q }, { limit: 1000 });
  const alerts = useList<Alert, AlertList & { items: Alert[] }>('/alerts', { state: ['firing', 'pending'], fields: 'rule,state' }, { limit: 1000 });
  const rows = useMemo(() => {
    const counts = counted(alerts.items);
    const beyond = Object.entries(alerts.first?.beyondLimit ?? {}).map(([rule, n]) => [shownName(parseName(rule)), n] as const);
    const limits = new Map(beyond);
    return read.items
      .filter(({ spec }) => !severity || spec.severity === severity)
      .map((rule): Row => {
        const key = shownName(parseName(nameOf(rule)));
        return { rule, firing: 0, pending: 0, ...counts.get(key), beyond: limits.get(key) ?? 0 };
      })
      .sort((a, b) => b.firing - a.firing || rankOf(a.rule.spec.severity) - rankOf(b.rule.spec.severity) || nameOf(a.rule).localeCompare(nameOf(b.rule)));
  }, [read.items, alerts.items, alerts.first, severity]);
  const columns = useColumns();
  const filtered = typed !== '' || severity !== '';
  const clear = () => {
    setTyped('');
    setSeverity('');
  };
  return (
    <Page
      title={t('title')}
      about={t('about')}
      actions={
        <Act verb="edit" kind="AlertRule" type="primary" icon={<PlusOutlined aria-hidden />} onAct={() => setEditing({ plural: 'alertrules', kind: 'AlertRule', template: TEMPLATE })}>
          {t('add')}
        </Act>
      }
    >
      <div className="rule-filters">
        <Input.Search allowClear className="rule-search" aria-label={t('search')} placeholder={t('search')} value={typed} onChange={(event) => setTyped(event.target.value)} />
        <Select
          allowClear
          className="rule-severity"
          aria-label={t('severity')}
          placeholder={t('severity')}
          value={severity || undefined}
          onChange={(value: string | undefined) => setSeverity(value ?? '')}
          options={(['critical', 'warning', 'info'] as const).map((value) => ({ value, label: <Severity value={value} bare /> }))}
        />
      </div>
      {read.error && <Problem error={read.error} retry={() => void read.refetch()} />}
      {!(read.error && !read.data) && (
        <Table<Row>
          size="small"
          rowKey={({ rule }) => nameOf(rule)}
          columns={columns}
          dataSource={rows}
          loading={read.isPending}
          pagination={rows.length > 100 ? { pageSize: 100, showSizeChanger: false } : false}
          scroll={{ x: 860 }}
          locale={{ emptyText: read.isPending ? ' ' : filtered ? <Nothing title={t('noMatch')} action={<Button onClick={clear}>{t('clear')}</Button>} /> : <Nothing title={t('noneTitle')} hint={t('noneHint')} /> }}
        />
      )}
      <EditDrawer editing={editing} onClose={() => setEditing(undefined)} />
    </Page>
  );
}

const STATE = {
  invalid: ['bad', <CloseCircleFilled key="i" />],
  suspended: ['warn', <PauseCircleFilled key="i" />],
  beyond: ['warn', <WarningFilled key="i" />],
  inForce: ['good', <CheckCircleFilled key="i" />],
} as const;

export function RuleStateSign({ rule, beyond }: { rule: AlertRule; beyond: number }) {
  const t = useText(texts);
  const state = stateOf(rule, beyond);
  const [tone, sign] = STATE[state];
  return <Sign tone={tone} sign={sign} bare>{state === 'beyond' ? t('beyond', { n: beyond }) : t(state)}</Sign>;
}

function useColumns(): TableColumnsType<Row> {
  const t = useText(texts);
  const count = (of: Row, state: 'firing' | 'pending') =>
    of[state] > 0 ? (
      <Link to={`/alerts?show=${state}&rule=${encodeURIComponent(nameOf(of.rule))}`} className={`ek-num rule-${state}`}>
        {of[state]}
      </Link>
    ) : (
      <span className="ek-dim ek-num">0</span>
    );
  return [
    { title: t('name'), key: 'name', width: 180, render: (_, { rule }) => <Name kind="AlertRule" of={nameOf(rule)} /> },
    { title: t('severity'), key: 'severity', width: 100, render: (_, { rule }) => <Severity value={rule.spec.severity} bare /> },
    { title: t('expr'), key: 'expr', render: (_, { rule }) => <code className="rule-expr">{visibleText(rule.spec.expr)}</code> },
    { title: t('hold'), key: 'for', width: 70, render: (_, { rule }) => <span className="ek-num">{rule.spec.for ?? '0s'}</span> },
    { title: t('firing'), key: 'firing', width: 80, align: 'right', render: (_, row) => count(row, 'firing') },
    { title: t('pending'), key: 'pending', width: 80, align: 'right', render: (_, row) => count(row, 'pending') },
    { title: t('state'), key: 'state', width: 130, render: (_, { rule, beyond }) => <RuleStateSign rule={rule} beyond={beyond} /> },
  ];
}
