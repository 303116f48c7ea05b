import { CheckCircleFilled, CloseCircleFilled, MailOutlined, MessageOutlined, PauseCircleFilled, PlusOutlined, SendOutlined, WarningFilled } from '@ant-design/icons';
import { Alert, Input, Table, type TableColumnsType, Tabs } from 'antd';
import { useMemo, useState } from 'react';
import type { Refused } from '@/api/http';
import { useDeed, useGet, useList } from '@/api/query';
import type { Manifest } from '@/api/types';
import { Act, Nothing, Page, Problem, Sign, Time } from '@/components';
import { DeleteDialog, type Doomed, EditDrawer, type Editing } from '@/components/object-editor';
import { useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import { type Named, pathOf, shownName } from '@/lib/name';
import { visibleText } from '../text/visible';
import { NoticeTable } from './notice-table';
import { type Notice, records, type Record } from './notices';
import texts from './text';
import './receivers.css';

interface Spec {
  email?: { to?: string[]; server?: string };
  sms?: { to?: string[]; gateway?: { url?: string } };
  webhook?: { url?: string; format?: string };
  fallback?: string;
  suspend?: boolean;
}

type Receiver = Manifest<Spec>;

interface Tested {
  name: string;
  message?: string;
  error?: Refused;
}

const TEMPLATE = `apiVersion: evenkeel.dev/v1alpha1
kind: Receiver
metadata:
  name: my-receiver
spec:
  email:
    to: [ops@example.com]
    from: evenkeel@example.com
    server: mail.example.com
    secretRef: {name: mail}
`;

const namedOf = ({ metadata }: Receiver): Named => ({ namespace: metadata.namespace ?? 'default', name: metadata.name });

export default function Receivers() {
  const t = useText(texts);
  const [q, setQ] = useParam('q');
  const [show, setShow] = useParam('show', 'receivers');
  const [editing, setEditing] = useState<Editing>();
  const [doomed, setDoomed] = useState<Doomed>();
  const [tested, setTested] = useState<Tested>();
  const read = useList<Receiver>('/receivers', {}, { limit: 1000 });
  const notices = useGet<{ items: Notice[] }>('/notices', { limit: 1000 });
  const of = useMemo(() => records(notices.data?.items ?? []), [notices.data]);
  const shown = read.items.filter((one) => shownName(namedOf(one)).includes(q.trim()));
  const dead = (notices.data?.items ?? []).filter((one) => one.isDead);
  const columns = useColumns({ records: of, onTested: setTested, onEdit: setEditing, onDelete: setDoomed });
  const add = (
    <Act verb="edit" kind="Receiver" type="primary" icon={<PlusOutlined aria-hidden />} onAct={() => setEditing({ plural: 'receivers', kind: 'Receiver', template: TEMPLATE })}>
      {t('add')}
    </Act>
  );
  return (
    <Page title={t('title')} about={t('about')} actions={add}>
      {tested && (
        <Alert
          closable={{ onClose: () => setTested(undefined) }}
          showIcon
          type={tested.error ? 'error' : 'success'}
          title={tested.error ? t('testBad', { name: tested.name, why: visibleText(tested.error.message, true) }) : t('testGood', { name: tested.name, message: visibleText(tested.message ?? '') })}
          description={tested.error && t('testHint')}
          className="receiver-tested"
        />
      )}
      <Tabs
        className="ek-shelves"
        activeKey={['notices', 'dead'].includes(show) ? show : 'receivers'}
        onChange={setShow}
        items={[
          { key: 'receivers', label: `${t('receivers')} (${read.items.length})` },
          { key: 'dead', label: <span className={dead.length > 0 ? 'receiver-bad' : ''}>{`${t('dead')} (${dead.length})`}</span> },
          { key: 'notices', label: t('notices') },
        ]}
      />
      {show === 'dead' || show === 'notices' ? (
        <NoticeTable read={notices} items={show === 'dead' ? dead : (notices.data?.items ?? [])} isDead={show === 'dead'} />
      ) : (
        <>
          <Input.Search allowClear className="receiver-search" aria-label={t('search')} placeholder={t('search')} value={q} onChange={(event) => setQ(event.target.value)} />
          {read.error && <Problem error={read.error} retry={() => void read.refetch()} />}
          {!(read.error && !read.data) && (
            <Table<Receiver>
              size="small"
              rowKey={(one) => pathOf(namedOf(one))}
              columns={columns}
              dataSource={shown}
              loading={read.isPending}
              pagination={false}
              scroll={{ x: 1010 }}
              locale={{ emptyText: read.isPending ? ' ' : <Nothing title={t('noneTitle')} hint={t('noneHint')} action={add} /> }}
            />
          )}
        </>
      )}
      <EditDrawer editing={editing} onClose={() => setEditing(undefined)} />
      <DeleteDialog doomed={doomed} onClose={() => setDoomed(undefined)} />
    </Page>
  );
}

interface ColumnActs {
  records: Map<string, Record>;
  onTested: (tested: Tested) => void;
  onEdit: (editing: Editing) => void;
  onDelete: (doomed: Doomed) => void;
}

function useColumns({ records, onTested, onEdit, onDelete }: ColumnActs): TableColumnsType<Receiver> {
  const t = useText(texts);
  const recordOf = (one: Receiver): Record => records.get(shownName(namedOf(one))) ?? { dead: 0, waiting: 0 };
  return [
    { title: t('name'), key: 'name', width: 110, render: (_, one) => <span className="ek-name">{shownName(namedOf(one))}</span> },
    {
      title: t('to'),
      key: 'to',
      width: 175,
      render: (_, { spec }) => (
        <div className="receiver-lost">
          <Way spec={spec} />
          <span className="ek-dim receiver-to">{visibleText(goalOf(spec, t('secretUrl')))}</span>
        </div>
      ),
    },
    { title: t('state'), key: 'state', width: 140, render: (_, one) => <State of={one} /> },
    { title: t('lastSaid'), key: 'last', width: 124, render: (_, one) => <Time at={recordOf(one).lastSaid} relative none={t('never')} /> },
    {
      title: t('undelivered'),
      key: 'dead',
      render: (_, one) => {
        const { dead, waiting, problem } = recordOf(one);
        if (dead + waiting === 0) return <span className="ek-dim ek-num">0</span>;
        return (
          <div className="receiver-lost">
            <span className="ek-num">
              {dead > 0 && <strong className="receiver-bad">✕ {dead}</strong>} {waiting > 0 && <span className="ek-dim">{t('waiting')} {waiting}</span>}
            </span>
            {problem && <span className="ek-dim receiver-cut" title={visibleText(problem)}>{visibleText(problem)}</span>}
          </div>
        );
      },
    },
    { title: t('fallback'), key: 'fallback', width: 88, render: (_, { spec }) => (spec.fallback ? visibleText(spec.fallback) : <span className="ek-dim">–</span>) },
    {
      title: t('acts'),
      key: 'acts',
      width: 248,
      fixed: 'right',
      render: (_, one) => {
        const named = namedOf(one);
        return (
          <div className="receiver-acts">
            <Test named={named} onTested={onTested} />
            <Act size="small" type="text" verb="edit" kind="Receiver" {...named} onAct={() => onEdit({ plural: 'receivers', name: named })}>
              {t('edit')}
            </Act>
            <Act size="small" type="text" danger verb="edit" kind="Receiver" {...named} onAct={() => onDelete({ plural: 'receivers', name: named })}>
              {t('delete')}
            </Act>
          </div>
        );
      },
    },
  ];
}

function Test({ named, onTested }: { named: Named; onTested: (tested: Tested) => void }) {
  const t = useText(texts);
  const name = shownName(named);
  const deed = useDeed<{ message?: string } | undefined>({ quiet: true, said: () => undefined, renews: ['/notices', '/receivers'], onDone: (answer) => onTested({ name, message: answer?.message ?? '' }) });
  const send = () => deed.mutate({ path: `/receivers/${pathOf(named)}/test`, body: {} }, { onError: (error) => onTested({ name, error }) });
  return (
    <Act size="small" verb="edit" kind="Receiver" {...named} icon={<SendOutlined />} loading={deed.isPending} onAct={send}>
      {t('test')}
    </Act>
  );
}

function Way({ spec }: { spec: Spec }) {
  const t = useText(texts);
  if (spec.email) return <Sign tone="calm" sign={<MailOutlined />} bare>{t('email')}</Sign>;
  if (spec.sms) return <Sign tone="calm" sign={<MessageOutlined />} bare>{t('sms')}</Sign>;
  return (
    <Sign tone="calm" sign={<SendOutlined />} bare>
      {t('webhook')}
      {spec.webhook?.format && spec.webhook.format !== 'Generic' && ` · ${spec.webhook.format}`}
    </Sign>
  );
}

/** Where it goes; of a URL only the host, since the rest is often a secret. */
function goalOf(spec: Spec, secret: string): string {
  if (spec.email) return (spec.email.to ?? []).join(', ');
  if (spec.sms) return (spec.sms.to ?? []).join(', ');
  const url = spec.webhook?.url;
  if (!url) return secret;
  return URL.canParse(url) ? new URL(url).host : '';
}

function State({ of: { spec, status } }: { of: Receiver }) {
  const t = useText(texts);
  if (spec.suspend) return <Sign tone="warn" sign={<PauseCircleFilled />} bare>{t('suspended')}</Sign>;
  const condition = status?.conditions?.find(({ type }) => type === 'Ready');
  if (!condition || condition.status === 'True') return <Sign tone="good" sign={<CheckCircleFilled />} bare>{t('ready')}</Sign>;
  return (
    <div className="receiver-lost">
      <Sign tone="bad" sign={condition.reason === 'InvalidManifest' ? <CloseCircleFilled /> : <WarningFilled />} bare>{t('notReady')}</Sign>
      {condition.message && <span className="ek-dim">{visibleText(condition.message)}</span>}
    </div>
  );
}
