import { Table } from 'antd';
import type { Deviation, PackageStatus } from '@/api/types';
import { Name, Nothing, Part, Target, Time } from '@/components';
import { useText } from '@/i18n/language';
import texts from './text';

/** Where the device is not as the source says. */
export function Deviations({ of }: { of: readonly Deviation[] }) {
  const t = useText(texts);
  if (of.length === 0) return null;
  return (
    <Part title={t('deviations')} extra={<span className="ek-dim">{t('deviationsHint')}</span>} flush>
      <Table<Deviation>
        size="small"
        pagination={false}
        dataSource={[...of]}
        rowKey={({ path, deployment }) => `${deployment} ${path}`}
        scroll={{ x: 640 }}
        columns={[
          { title: t('path'), dataIndex: 'path', render: (path: string) => <code className="ek-pre">{path}</code> },
          { title: t('desired'), dataIndex: 'desired', render: (value: string) => <code className="ek-pre">{value}</code> },
          { title: t('actual'), dataIndex: 'actual', render: (value: string) => <code className="ek-pre">{value}</code> },
          { title: t('why'), render: (_, row) => <>{row.reason} <span className="ek-dim"><Time at={row.since} relative /></span></> },
          { title: t('deployment'), render: (_, row) => row.deployment && <Whose of={row.deployment} /> },
        ]}
      />
    </Part>
  );
}

/** A Deployment by its name, the login of a Role as `role/NAME`. */
function Whose({ of }: { of: string }) {
  return <span className="ek-name">{of.startsWith('role/') ? <Target of={of} /> : <Name kind="Deployment" of={of} />}</span>;
}

/** What our Deployments put there. */
export function Packages({ of }: { of: readonly PackageStatus[] }) {
  const t = useText(texts);
  return (
    <Part title={t('packages')} flush>
      {of.length === 0 ? <Nothing title={t('noPackages')} hint={t('noPackagesHint')} /> : (
        <Table<PackageStatus>
          size="small"
          pagination={false}
          dataSource={[...of]}
          rowKey={({ deployment, name }) => `${deployment} ${name}`}
          columns={[
            { title: t('package'), dataIndex: 'name', render: (name: string, row) => <><b className="ek-name">{name}</b><br /><span className="ek-name ek-dim">{row.version}</span></> },
            { title: t('deployment'), width: 116, render: (_, row) => <><Whose of={row.deployment} /><br /><span className="ek-dim ek-num">{t('revision')} {row.revision}</span></> },
          ]}
        />
      )}
    </Part>
  );
}
