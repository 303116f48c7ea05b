import { DeploymentUnitOutlined, HddOutlined, SearchOutlined } from '@ant-design/icons';
import { AutoComplete, Input, type InputRef } from 'antd';
import { type Ref, useImperativeHandle, useRef, useState } from 'react';
import { useNavigate } from 'react-router';
import { useGet } from '@/api/query';
import type { Deployment, Device, List } from '@/api/types';
import { Health, Phase } from '@/components/states';
import frame from '@/i18n/frame';
import { useText } from '@/i18n/language';
import { pathOf, shownName } from '@/lib/name';
import { usePaused } from '@/lib/pause';

export interface SearchHandle {
  focus: () => void;
}

/** Suggestions of each kind. */
const MOST = 8;

/** Finds devices and deployments by name. */
export function Search({ ref }: { ref?: Ref<SearchHandle> }) {
  const t = useText(frame);
  const go = useNavigate();
  const input = useRef<InputRef>(null);
  const [typed, setTyped] = useState('');
  const q = usePaused(typed.trim(), 150);
  useImperativeHandle(ref, () => ({ focus: () => input.current?.focus({ cursor: 'all' }) }), []);
  const asked = { q, limit: MOST, fields: 'metadata.namespace,metadata.name,status.health,status.phase' };
  const devices = useGet<List<Device>>('/devices', asked, { enabled: q !== '', retry: false });
  const deployments = useGet<List<Deployment>>('/deployments', asked, { enabled: q !== '', retry: false });
  const found = [
    ...(devices.data?.items ?? []).map((device) => {
      const named = { namespace: device.metadata.namespace ?? 'default', name: device.metadata.name };
      return { value: `/devices/${pathOf(named)}`, label: <Found icon={<HddOutlined />} name={shownName(named)} state={<Health value={device.status?.health} bare />} /> };
    }),
    ...(deployments.data?.items ?? []).map((deployment) => {
      const named = { namespace: deployment.metadata.namespace ?? 'default', name: deployment.metadata.name };
      return { value: `/deployments/${pathOf(named)}`, label: <Found icon={<DeploymentUnitOutlined />} name={shownName(named)} state={<Phase value={deployment.status?.phase} bare />} /> };
    }),
  ];
  const idle = q !== '' && !devices.isFetching && !deployments.isFetching;
  return (
    <AutoComplete
      className="ek-search"
      options={q === '' ? [] : found}
      value={typed}
      defaultActiveFirstOption
      onSelect={(to: string) => {
        setTyped('');
        input.current?.blur();
        void go(to);
      }}
      onChange={(value: string) => {
        if (!value.startsWith('/d')) setTyped(value);
      }}
      notFoundContent={idle ? t('searchNothing', { q }) : null}
      popupMatchSelectWidth={420}
    >
      <Input ref={input} allowClear prefix={<SearchOutlined aria-hidden="true" />} suffix={typed === '' ? <kbd>/</kbd> : undefined} placeholder={t('search')} aria-label={t('search')} />
    </AutoComplete>
  );
}

function Found({ icon, name, state }: { icon: React.ReactNode; name: string; state: React.ReactNode }) {
  return <span className="ek-found"><span aria-hidden="true">{icon}</span><span className="ek-found-name">{name}</span>{state}</span>;
}
