/** The pages of the menu, with their signs and keys. */
import {
  ApartmentOutlined, AuditOutlined, BellOutlined, BranchesOutlined, DashboardOutlined, DeploymentUnitOutlined, FileSearchOutlined,
  FunctionOutlined, HddOutlined, KeyOutlined, MutedOutlined, SafetyOutlined, SendOutlined, TeamOutlined,
} from '@ant-design/icons';
import type { ReactNode } from 'react';

export interface Place {
  id: 'overview' | 'devices' | 'deployments' | 'alerts' | 'rules' | 'receivers' | 'silences' | 'logs' | 'topology' | 'source' | 'audit' | 'roles' | 'users' | 'tokens';
  to: string;
  icon: ReactNode;
  /** After `g`. */
  key: string;
  group: 'fleet' | 'watching' | 'governing';
  /** Only those who may administer see it. */
  admin?: boolean;
}

export const PLACES: readonly Place[] = [
  { id: 'overview', to: '/', icon: <DashboardOutlined aria-hidden />, key: 'o', group: 'fleet' },
  { id: 'devices', to: '/devices', icon: <HddOutlined aria-hidden />, key: 'd', group: 'fleet' },
  { id: 'deployments', to: '/deployments', icon: <DeploymentUnitOutlined aria-hidden />, key: 'r', group: 'fleet' },
  { id: 'topology', to: '/topology', icon: <ApartmentOutlined aria-hidden />, key: 't', group: 'fleet' },
  { id: 'source', to: '/source', icon: <BranchesOutlined aria-hidden />, key: 's', group: 'fleet' },
  { id: 'alerts', to: '/alerts', icon: <BellOutlined aria-hidden />, key: 'a', group: 'watching' },
  { id: 'logs', to: '/logs', icon: <FileSearchOutlined aria-hidden />, key: 'l', group: 'watching' },
  { id: 'rules', to: '/rules', icon: <FunctionOutlined aria-hidden />, key: 'u', group: 'watching' },
  { id: 'silences', to: '/silences', icon: <MutedOutlined aria-hidden />, key: 'm', group: 'watching' },
  { id: 'receivers', to: '/receivers', icon: <SendOutlined aria-hidden />, key: 'n', group: 'watching' },
  { id: 'audit', to: '/audit', icon: <AuditOutlined aria-hidden />, key: 'h', group: 'governing' },
  { id: 'roles', to: '/roles', icon: <SafetyOutlined aria-hidden />, key: 'p', group: 'governing' },
  { id: 'users', to: '/users', icon: <TeamOutlined aria-hidden />, key: 'w', group: 'governing', admin: true },
  { id: 'tokens', to: '/tokens', icon: <KeyOutlined aria-hidden />, key: 'k', group: 'governing' },
];

/** The page of the menu that an address belongs to. */
export function placeAt(pathname: string): Place | undefined {
  if (pathname === '/') return PLACES[0];
  return PLACES.find((place) => place.to !== '/' && (pathname === place.to || pathname.startsWith(`${place.to}/`)));
}
