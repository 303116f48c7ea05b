import { PlusOutlined } from '@ant-design/icons';
import { Button, Input, Table, type TableColumnsType, Tooltip } from 'antd';
import { useMemo, useState } from 'react';
import { useList } from '@/api/query';
import { Act, Name, Nothing, Page, Phase, Problem, Selector, Time } from '@/components';
import { EditDrawer, type Editing } from '@/components/object-editor';
import { useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import { usePaused } from '@/lib/pause';
import { visibleText } from '../text/visible';
import { byAttention, lastResult, nameOf, phases, splitWait } from './list';
import { Progress } from './progress';
import { Result } from './result';
import texts from './text';
import type { Deployment } from './types';
import { useKindWord, WaitRest } from './wait-words';
import './list.css';

/** Deployments that are read at once: a fleet has hundreds of them at most. */
const MOST = 1000;

const TEMPLATE = `apiVersion: evenkeel.dev/v1alpha1
kind: Deployment
metadata:
  name: my-deployment
spec:
  selector:
    matchLabels:
      role: web
  package:
    apt:
      name: nginx
      version: 1.22.1-9
  strategy:
    batches:
      - max: 1
      - max: 25%
    soak: 2m
`;

export default function Deployments() {
  const t = useText(texts);
  const [typed, setTyped] = useParam('q');
  const [labels, setLabels] = useParam('labels');
  const [phase, setPhase] = useParam('phase');
  const [editing, setEditing] = useState<Editing>();
  const q = usePaused(typed);
  const read = useList<Deployment>('/deployments', { q, labelSelector: labels }, { limit: MOST });
  const counts = useMemo(() => phases(read.items), [read.items]);
  const shown = useMemo(() => read.items.filter((one) => !phase || (one.status?.phase || 'Pending') === phase).sort(byAttention), [read.items, phase]);
  const columns = useColumns();
  const filtered = typed !== '' || labels !== '' || phase !== '';
  const clear = () => {
    setTyped('');
    setLabels('');
    setPhase('');
  };
  return (
    <Page
      title={t('title')}
      beside={<span className="ek-dim">{read.data && t('found', { n: read.total })}</span>}
      about={t('about')}
      actions={
        <Act verb="edit" kind="Deployment" type="primary" icon={<PlusOutlined aria-hidden />} onAct={() => setEditing({ plural: 'deployments', kind: 'Deployment', template: TEMPLATE })}>
          {t('add')}
        </Act>
      }
    >
      <div className="dep-filters">
        <Input.Search allowClear className="dep-search" aria-label={t('search')} placeholder={t('search')} value={typed} onChange={(event) => setTyped(event.target.value)} />
        <Selector value={labels} onChange={setLabels} />
        <fieldset className="dep-phases">
          <legend className="ek-hidden">{t('phase')}</legend>
          <Button size="small" type={phase === '' ? 'primary' : 'text'} aria-pressed={phase === ''} onClick={() => setPhase('')}>
            {t('all')} <span className="ek-num">{read.items.length}</span>
          </Button>
          {counts.map(([word, n]) => (
            <Button key={word} size="small" type="text" className={phase === word ? 'dep-picked' : ''} aria-pressed={phase === word} onClick={() => setPhase(phase === word ? '' : word)}>
              <Phase value={word} bare /> <span className="ek-num">{n}</span>
            </Button>
          ))}
        </fieldset>
      </div>
      {read.error && <Problem error={read.error} retry={() => void read.refetch()} />}
      {!(read.error && !read.data) && (
        <Table<Deployment>
          size="small"
          rowKey={nameOf}
          columns={columns}
          dataSource={shown}
          loading={read.isPending}
          pagination={shown.length > 100 ? { pageSize: 100, showSizeChanger: false } : false}
          scroll={{ x: 1010 }}
          locale={{
            emptyText: read.isPending ? ' ' : filtered ? <Nothing title={t('noMatch')} hint={t('noMatchHint')} action={<Button onClick={clear}>{t('clear')}</Button>} /> : <Nothing title={t('noneTitle')} hint={t('noneHint')} />,
          }}
        />
      )}
      <EditDrawer editing={editing} onClose={() => setEditing(undefined)} />
    </Page>
  );
}

function useColumns(): TableColumnsType<Deployment> {
  const t = useText(texts);
  return [
    { title: t('name'), key: 'name', width: 140, fixed: 'left', render: (_, one) => <Name kind="Deployment" of={nameOf(one)} /> },
    { title: t('phase'), key: 'phase', width: 150, render: (_, { status }) => <Phase value={status?.phase || 'Pending'} /> },
    { title: t('revision'), key: 'revision', width: 170, render: (_, one) => <RevisionCell of={one} /> },
    { title: t('progress'), key: 'progress', width: 164, render: (_, { status }) => <Progress counts={status?.counts} /> },
    { title: t('waits'), key: 'waits', render: (_, one) => <WaitCell of={one} /> },
    { title: t('last'), key: 'last', width: 190, render: (_, one) => <LastCell of={one} /> },
  ];
}

function RevisionCell({ of: { status } }: { of: Deployment }) {
  const t = useText(texts);
  if (status?.revision === undefined) return <span className="ek-dim">–</span>;
  const record = status.history?.findLast((one) => one.revision === status.revision);
  return (
    <div className="dep-two">
      <span className="ek-num">
        {status.revision}
        {status.inForce !== undefined && status.inForce !== status.revision && <span className="dep-other"> {t('inForce', { n: status.inForce })}</span>}
      </span>
      <span className="ek-dim dep-cut" title={visibleText(record?.version ?? '')}>{visibleText(record?.version ?? '')}</span>
    </div>
  );
}

function WaitCell({ of: { status } }: { of: Deployment }) {
  const t = useText(texts);
  const word = useKindWord();
  if (!status?.waitingOn) return <span className="ek-dim">–</span>;
  const { kind, rest } = splitWait(status.waitingOn);
  return (
    <div className="dep-two">
      <span>
        {word(kind)}
        {status.waitingSince && <span className="ek-dim"> · {t('since')} <Time at={status.waitingSince} relative /></span>}
      </span>
      <Tooltip title={kind === 'Approval' ? '' : visibleText(rest)}>
        <span className="ek-dim dep-cut"><WaitRest kind={kind} rest={rest} /></span>
      </Tooltip>
    </div>
  );
}

function LastCell({ of }: { of: Deployment }) {
  const record = lastResult(of);
  if (!record) return <span className="ek-dim">–</span>;
  return (
    <div className="dep-two">
      <span>
        <Result of={record.result} /> <span className="ek-dim ek-num">#{record.revision}</span>
      </span>
      <span className="ek-dim dep-cut" title={visibleText(record.reason)}>
        <Time at={record.finishedAt ?? record.startedAt} relative />
        {record.reason && <> · {visibleText(record.reason)}</>}
      </span>
    </div>
  );
}
