import { DeleteOutlined, EditOutlined } from '@ant-design/icons';
import { Table } from 'antd';
import { type ReactNode, useState } from 'react';
import { Link, useNavigate, useParams } from 'react-router';
import { useOrigin } from '@/api/origin';
import { useGet } from '@/api/query';
import type { List } from '@/api/types';
import { Act, AlertState, Fetched, Labels, Page, Part, Severity } from '@/components';
import { DeleteDialog, type Doomed, EditDrawer, type Editing } from '@/components/object-editor';
import { useText } from '@/i18n/language';
import { fullName, pathOf, shownName } from '@/lib/name';
import type { Alert } from '../alerts/types';
import { selectorOf } from '../deployment/facts';
import texts from '../rules/text';
import type { AlertRule } from '../rules/types';
import { visibleText } from '../text/visible';
import { Backtest } from './backtest';
import { Told } from './told';
import './rule.css';

export default function RulePage() {
  const t = useText(texts);
  const { namespace = 'default', name = '' } = useParams();
  const named = { namespace, name };
  const navigate = useNavigate();
  const [editing, setEditing] = useState<Editing>();
  const [doomed, setDoomed] = useState<Doomed>();
  const read = useGet<AlertRule>(`/alertrules/${pathOf(named)}`);
  const who = { verb: 'edit', kind: 'AlertRule', namespace, name } as const;
  return (
    <Page
      title={shownName(named)}
      crumbs={[{ title: t('rules'), to: '/rules' }]}
      beside={read.data && <Severity value={read.data.spec.severity} />}
      actions={
        <>
          <Act {...who} icon={<EditOutlined aria-hidden />} onAct={() => setEditing({ plural: 'alertrules', name: named })}>
            {t('edit')}
          </Act>
          <Act {...who} type="text" danger icon={<DeleteOutlined aria-hidden />} onAct={() => setDoomed({ plural: 'alertrules', name: named })}>
            {t('delete')}
          </Act>
        </>
      }
    >
      <Fetched of={read} lines={8}>
        {(rule) => (
          <>
            <Part title={t('what')}>
              <Asked rule={rule} />
            </Part>
            <Part title={t('backtest')} extra={<span className="ek-dim">{t('backtestHint')}</span>}>
              <Backtest key={rule.spec.expr} rule={rule} />
            </Part>
            <Part title={t('told')}>
              <Told notify={rule.spec.notify} />
            </Part>
            <Part title={t('tests')} flush={Boolean(rule.spec.tests?.length)}>
              <Tests tests={rule.spec.tests ?? []} />
            </Part>
          </>
        )}
      </Fetched>
      <EditDrawer editing={editing} onClose={() => setEditing(undefined)} />
      <DeleteDialog doomed={doomed} onClose={() => setDoomed(undefined)} onDone={() => void navigate('/rules')} />
    </Page>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

const NO_DATA = { Keep: 'noDataKeep', Fire: 'noDataFire', Resolve: 'noDataResolve' } as const;

function Asked({ rule }: { rule: AlertRule }) {
  const t = useText(texts);
  const { spec, metadata } = rule;
  const named = { namespace: metadata.namespace ?? 'default', name: metadata.name };
  const name = fullName(named);
  const place = useOrigin('alertrules', named);
  const alerts = useGet<List<Alert>>('/alerts', { rule: name, state: ['firing', 'pending'], limit: 1000 });
  const count = (state: string) => alerts.data?.items.filter((alert) => alert.state === state).length ?? 0;
  return (
    <>
      <pre className="rule-big-expr">{visibleText(spec.expr, true)}</pre>
      <dl className="rule-facts">
        <Fact name={t('now')}>
          <Link to={`/alerts?rule=${encodeURIComponent(name)}`}>
            {t('firing')} <b className="ek-num">{count('firing')}</b> · {t('pending')} <b className="ek-num">{count('pending')}</b>
          </Link>
        </Fact>
        <Fact name={t('hold')}>{spec.for ?? '0s'}</Fact>
        <Fact name={t('recover')}>{spec.recover ? <code>{visibleText(spec.recover)}</code> : t('recoverUsual')}</Fact>
        {spec.keepFiringFor && <Fact name={t('keepFiring')}>{spec.keepFiringFor}</Fact>}
        <Fact name={t('noData')}>{t(NO_DATA[spec.noData ?? 'Keep'] ?? 'noDataKeep')}</Fact>
        <Fact name={t('selector')}>
          {selectorOf({ selector: spec.selector }) ? <code>{visibleText(selectorOf({ selector: spec.selector }))}</code> : t('everything')}
        </Fact>
        <Fact name={t('limit')}>{spec.limit ?? 1000}</Fact>
        {spec.labels && (
          <Fact name={t('labels')}>
            <Labels of={spec.labels} />
          </Fact>
        )}
        {spec.summary && (
          <Fact name={t('summary')}>
            <code>{visibleText(spec.summary)}</code>
          </Fact>
        )}
        {spec.inhibitedBy && spec.inhibitedBy.length > 0 && <Fact name={t('inhibitedBy')}>{spec.inhibitedBy.map((one) => visibleText(one.rule)).join(', ')}</Fact>}
        {place && (
          <Fact name={t('where')}>
            <code className="ek-pre">{visibleText(place)}</code>
          </Fact>
        )}
      </dl>
    </>
  );
}

function Tests({ tests }: { tests: NonNullable<AlertRule['spec']['tests']> }) {
  const t = useText(texts);
  if (tests.length === 0) return <p className="ek-dim rule-none">{t('testsNone')}</p>;
  return (
    <Table
      size="small"
      pagination={false}
      rowKey={(test) => tests.indexOf(test)}
      dataSource={tests}
      scroll={{ x: 520 }}
      columns={[
        {
          title: t('given'),
          key: 'given',
          render: (_, test) =>
            Object.entries(test.given).map(([series, values]) => (
              <div key={series}>
                <code>
                  {visibleText(series)}: {visibleText(String(values))}
                </code>
              </div>
            )),
        },
        { title: t('at'), key: 'at', width: 100, render: (_, test) => test.at },
        { title: t('expect'), key: 'expect', width: 150, render: (_, test) => <AlertState value={test.expect} bare /> },
      ]}
    />
  );
}
