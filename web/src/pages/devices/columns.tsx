import type { TableColumnsType } from 'antd';
import type { Device } from '@/api/types';
import { Health, Labels, Meter, Name, Time, UpdateState } from '@/components';
import words from '@/components/text';
import type { Say } from '@/i18n/text';
import { usesOf } from '@/lib/uses';
import { orderOf, SORTED } from './search';
import type texts from './text';

export type Row = Device;

interface Wanted {
  t: Say<typeof texts>;
  w: Say<typeof words>;
  sort: string;
  onLabel: (selector: string) => void;
}

export function columns({ t, w, sort, onLabel }: Wanted): TableColumnsType<Row> {
  const sorted = (key: string) => (SORTED.includes(key) ? { sorter: true, sortOrder: orderOf(sort, key) } : {});
  const uses = (row: Row) => usesOf(row.uses);
  return [
    { key: 'name', title: t('name'), width: 150, ...sorted('name'), fixed: 'left', render: (_, row) => <Name kind="Device" of={{ namespace: row.metadata.namespace ?? 'default', name: row.metadata.name }} /> },
    { key: 'health', title: t('health'), width: 122, ...sorted('health'), render: (_, row) => <Health value={row.status?.health} /> },
    { key: 'update', title: t('update'), width: 118, ...sorted('update'), render: (_, row) => <UpdateState value={row.status?.update} /> },
    { key: 'site', title: t('site'), width: 70, ...sorted('site'), render: (_, row) => row.effective?.labels?.site ?? row.metadata.labels?.site ?? '–' },
    { key: 'type', title: t('type'), width: 80, ...sorted('type'), render: (_, row) => (row.spec?.type && row.spec.type in words ? w(row.spec.type) : (row.spec?.type ?? '–')) },
    { key: 'address', title: t('address'), width: 108, ...sorted('address'), render: (_, row) => <span className="ek-num">{row.effective?.address ?? row.spec?.address ?? '–'}</span> },
    {
      key: 'cpu', title: t('cpu'), width: 96, ...sorted('cpu'),
      onCell: (row) => ({ colSpan: uses(row).problem ? 3 : 1 }),
      render: (_, row) => {
        const now = uses(row);
        return now.problem ? <span className="ek-dim ek-cut" title={now.problem}>{t('notRead', { problem: now.problem })}</span> : <Meter ratio={now.cpu} of="CPU" />;
      },
    },
    { key: 'memory', title: t('memory'), width: 96, onCell: (row) => ({ colSpan: uses(row).problem ? 0 : 1 }), render: (_, row) => <Meter ratio={uses(row).memory} of={t('memory')} /> },
    { key: 'disk', title: t('disk'), width: 104, onCell: (row) => ({ colSpan: uses(row).problem ? 0 : 1 }), render: (_, row) => <Meter ratio={uses(row).disk?.ratio} of={uses(row).disk?.name} /> },
    {
      key: 'change', title: t('lastChange'), width: 150,
      render: (_, { lastChange: change }) => (change ? <span className="ek-cut"><Time at={change.at} relative /> <Name kind="Deployment" of={change.deployment} /></span> : '–'),
    },
    { key: 'packages', title: t('packages'), width: 170, ellipsis: true, render: (_, row) => <span className="ek-cut">{(row.status?.packages ?? []).map(({ name, version }) => `${name} ${version}`).join(', ') || '–'}</span> },
    { key: 'labels', title: t('labels'), width: 260, render: (_, row) => <Labels of={withoutSite(row.effective?.labels ?? row.metadata.labels)} onPick={onLabel} /> },
  ];
}

function withoutSite(labels: Readonly<Record<string, string>> | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(labels ?? {}).filter(([key]) => key !== 'site'));
}
