import { DeleteOutlined, EditOutlined, EyeOutlined } from '@ant-design/icons';
import { Alert as Notice, Tabs } from 'antd';
import { useState } from 'react';
import { useNavigate, useParams } from 'react-router';
import { useDeed, useGet } from '@/api/query';
import type { Device } from '@/api/types';
import { Act, Fetched, Health, Page, UpdateState } from '@/components';
import { DeleteDialog, type Doomed, EditDrawer, type Editing } from '@/components/object-editor';
import { useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import { type Named, pathOf, shownName } from '@/lib/name';
import { usesOf } from '@/lib/uses';
import { Alerts } from './Alerts';
import { Audit, Explain, Logs } from './told';
import { Charts } from './Charts';
import './device.css';
import { Facts } from './Facts';
import { Deviations, Packages } from './held';
import { Probes } from './Probes';
import texts from './text';

/** One device: how it is, why, what it uses, what was done to it. */
export default function DevicePage() {
  const t = useText(texts);
  const { namespace = 'default', name = '' } = useParams();
  const named = { namespace, name };
  const path = `/devices/${pathOf(named)}`;
  const device = useGet<Device>(path);
  const [tab, setTab] = useParam('tab', 'overview');
  const navigate = useNavigate();
  const [editing, setEditing] = useState<Editing>();
  const [doomed, setDoomed] = useState<Doomed>();
  const who = { verb: 'edit', kind: 'Device', namespace, name } as const;
  const look = useDeed({ said: t('looked'), renews: [path] });
  const tabs = [
    { key: 'overview', label: t('overview'), children: <Fetched of={device} lines={10}>{(data) => <Shown device={data} named={named} />}</Fetched> },
    { key: 'logs', label: t('logs'), children: <Logs named={named} /> },
    { key: 'audit', label: t('audit'), children: <Audit named={named} /> },
    { key: 'explain', label: t('explain'), children: <Explain named={named} /> },
  ];
  const status = device.data?.status;
  return (
    <Page
      title={shownName(named)}
      crumbs={[{ title: t('devices'), to: '/devices' }]}
      beside={status && <><Health value={status.health} /><UpdateState value={status.update} /></>}
      actions={device.error?.status !== 404 && (
        <>
          <Act verb="view" kind="Device" namespace={namespace} name={name} icon={<EyeOutlined aria-hidden />} loading={look.isPending} onAct={() => look.mutate({ path: `${path}/look` })}>{t('lookNow')}</Act>
          <Act {...who} icon={<EditOutlined aria-hidden />} onAct={() => setEditing({ plural: 'devices', name: named })}>{t('edit')}</Act>
          <Act {...who} type="text" danger icon={<DeleteOutlined aria-hidden />} onAct={() => setDoomed({ plural: 'devices', name: named })}>{t('delete')}</Act>
        </>
      )}
    >
      {device.data?.spec?.suspend && <Notice type="info" showIcon title={t('suspended')} />}
      <Tabs activeKey={tab} onChange={setTab} items={tabs} destroyOnHidden className="ek-tabs" />
      <EditDrawer editing={editing} onClose={() => setEditing(undefined)} />
      <DeleteDialog doomed={doomed} onClose={() => setDoomed(undefined)} onDone={() => void navigate('/devices')} />
    </Page>
  );
}

function Shown({ device, named }: { device: Device; named: Named }) {
  const t = useText(texts);
  const problem = usesOf(device.uses).problem;
  return (
    <div className="ek-device">
      <div className="ek-column">
        <Alerts named={named} />
        <Deviations of={device.status?.deviations ?? []} />
        <Probes named={named} now={device.status?.probes ?? []} />
        {problem && <Notice type="warning" showIcon title={t('notRead')} description={problem} />}
        <Charts named={named} isMeant={Boolean(device.spec?.metrics)} />
      </div>
      <div className="ek-column">
        <Facts of={device} />
        <Packages of={device.status?.packages ?? []} />
      </div>
    </div>
  );
}
