import { PlusOutlined } from '@ant-design/icons';
import { Table, type TableColumnsType, Tabs } from 'antd';
import { useState } from 'react';
import { useDeed, useList } from '@/api/query';
import type { Manifest, Written } from '@/api/types';
import { Labels, Nothing, Page, Problem, Time, useNow } from '@/components';
import { CommitFollow, DeleteDialog, type Doomed, EditDrawer, type Editing } from '@/components/object-editor';
import { useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import { type Named, pathOf, shownName } from '@/lib/name';
import { SilenceAct } from '../alerts/silence-act';
import { soon } from '../alerts/spans';
import { personOf } from '../text/person';
import { visibleText } from '../text/visible';
import { EMPTY, isActive, selectorText, type SilenceDraft, type SilenceSpec } from './draft';
import { SilenceDrawer } from './drawer';
import texts from './text';

type Silence = Manifest<SilenceSpec>;

const namedOf = ({ metadata }: Silence): Named => ({ namespace: metadata.namespace ?? 'default', name: metadata.name });

export default function Silences() {
  const t = useText(texts);
  const now = useNow();
  const [show, setShow] = useParam('show', 'active');
  const [draft, setDraft] = useState<SilenceDraft>();
  const [editing, setEditing] = useState<Editing>();
  const [doomed, setDoomed] = useState<Doomed>();
  const [written, setWritten] = useState<Written>();
  const read = useList<Silence>('/silences', {}, { limit: 1000 });
  const active = read.items.filter((one) => isActive(one.spec.until, now)).sort((a, b) => a.spec.until.localeCompare(b.spec.until));
  const ended = read.items.filter((one) => !isActive(one.spec.until, now)).sort((a, b) => b.spec.until.localeCompare(a.spec.until));
  const shown = show === 'ended' ? ended : active;
  const columns = useColumns({ isEnded: show === 'ended', onEdit: setEditing, onDelete: setDoomed, onWritten: setWritten });
  const add = (
    <SilenceAct type="primary" icon={<PlusOutlined aria-hidden />} onAct={() => setDraft(EMPTY)}>
      {t('add')}
    </SilenceAct>
  );
  return (
    <Page title={t('title')} about={t('about')} actions={add}>
      {written && <CommitFollow written={written} onClose={() => setWritten(undefined)} />}
      <Tabs
        className="ek-shelves"
        activeKey={show === 'ended' ? 'ended' : 'active'}
        onChange={setShow}
        items={(['active', 'ended'] as const).map((key) => ({ key, label: `${t(key)} (${key === 'ended' ? ended.length : active.length})` }))}
      />
      {read.error && <Problem error={read.error} retry={() => void read.refetch()} />}
      {!(read.error && !read.data) && (
        <Table<Silence>
          size="small"
          rowKey={(one) => pathOf(namedOf(one))}
          columns={columns}
          dataSource={shown}
          loading={read.isPending}
          pagination={shown.length > 100 ? { pageSize: 100, showSizeChanger: false } : false}
          scroll={{ x: 980 }}
          locale={{ emptyText: read.isPending ? ' ' : show === 'ended' ? <Nothing title={t('noneEnded')} hint={t('noneEndedHint')} /> : <Nothing title={t('noneActive')} hint={t('noneActiveHint')} action={add} /> }}
        />
      )}
      <SilenceDrawer draft={draft} onClose={() => setDraft(undefined)} />
      <EditDrawer editing={editing} onClose={() => setEditing(undefined)} />
      <DeleteDialog doomed={doomed} onClose={() => setDoomed(undefined)} />
    </Page>
  );
}

interface ColumnActs {
  isEnded: boolean;
  onEdit: (editing: Editing) => void;
  onDelete: (doomed: Doomed) => void;
  onWritten: (written: Written) => void;
}

function useColumns({ isEnded, onEdit, onDelete, onWritten }: ColumnActs): TableColumnsType<Silence> {
  const t = useText(texts);
  return [
    { title: t('name'), key: 'name', width: 170, render: (_, one) => <span className="ek-name">{shownName(namedOf(one))}</span> },
    {
      title: t('mutes'),
      key: 'mutes',
      width: 180,
      render: (_, { spec }) => (
        <span className="silence-match">
          {spec.matchLabels && <Labels of={spec.matchLabels} />}
          {spec.devices && <code>{visibleText(selectorText(spec.devices)) || '*'}</code>}
        </span>
      ),
    },
    { title: t('reason'), key: 'reason', render: (_, { spec }) => visibleText(spec.reason) },
    { title: isEnded ? t('ended') : t('until'), key: 'until', width: 180, render: (_, { spec }) => <><Time at={spec.until} /> <span className="ek-dim">(<Time at={spec.until} relative />)</span></> },
    { title: t('by'), key: 'by', width: 100, render: (_, { origin }) => <span className="ek-dim" title={visibleText(origin?.author ?? '')}>{visibleText(personOf(origin?.author ?? '')) || '–'}</span> },
    {
      title: t('acts'),
      key: 'acts',
      width: 170,
      fixed: 'right',
      render: (_, one) => {
        const named = namedOf(one);
        return (
          <div className="silence-match">
            {!isEnded && <EndNow named={named} onWritten={onWritten} />}
            <SilenceAct size="small" type="text" named={named} onAct={() => onEdit({ plural: 'silences', name: named })}>
              {t('edit')}
            </SilenceAct>
            {isEnded && (
              <SilenceAct size="small" type="text" danger named={named} onAct={() => onDelete({ plural: 'silences', name: named })}>
                {t('delete')}
              </SilenceAct>
            )}
          </div>
        );
      },
    },
  ];
}

/** Its end becomes now: what was muted, by whom and why stays to be read. */
function EndNow({ named, onWritten }: { named: Named; onWritten: (written: Written) => void }) {
  const t = useText(texts);
  const deed = useDeed<Written | undefined>({
    renews: ['/silences', '/alerts'],
    said: (answer) => (answer?.commit ? t('committed', { commit: answer.commit.slice(0, 12) }) : answer?.message),
    onDone: (answer) => answer?.commit && onWritten(answer),
  });
  return (
    <SilenceAct
      size="small"
      named={named}
      loading={deed.isPending}
      confirm={t('endAsk', { name: shownName(named) })}
      onAct={() => deed.mutate({ method: 'PATCH', path: `/silences/${pathOf(named)}`, body: { spec: { until: soon(Date.now()) } } })}
    >
      {t('endNow')}
    </SilenceAct>
  );
}
