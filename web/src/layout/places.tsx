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
  { id: 'overview', to: '/', icon: <DashboardOutlined />, key: 'o', group: 'fleet' },
  { id: 'devices', to: '/devices', icon: <HddOutlined />, key: 'd', group: 'fleet' },
  { id: 'deployments', to: '/deployments', icon: <DeploymentUnitOutlined />, key: 'r', group: 'fleet' },
  { id: 'topology', to: '/topology', icon: <ApartmentOutlined />, key: 't', group: 'fleet' },
  { id: 'source', to: '/source', icon: <BranchesOutlined />, key: 's', group: 'fleet' },
  { id: 'alerts', to: '/alerts', icon: <BellOutlined />, key: 'a', group: 'watching' },
  { id: 'logs', to: '/logs', icon: <FileSearchOutlined />, key: 'l', group: 'watching' },
  { id: 'rules', to: '/rules', icon: <FunctionOutlined />, key: 'u', group: 'watching' },
  { id: 'silences', to: '/silences', icon: <MutedOutlined />, key: 'm', group: 'watching' },
  { id: 'receivers', to: '/receivers', icon: <SendOutlined />, key: 'n', group: 'watching' },
  { id: 'audit', to: '/audit', icon: <AuditOutlined />, key: 'h', group: 'governing' },
  { id: 'roles', to: '/roles', icon: <SafetyOutlined />, key: 'p', group: 'governing' },
  { id: 'users', to: '/users', icon: <TeamOutlined />, key: 'w', group: 'governing', admin: true },
  { id: 'tokens', to: '/tokens', icon: <KeyOutlined />, key: 'k', group: 'governing' },
];

/** The page of the menu that an address belongs to. */
export function placeAt(pathname: string): Place | undefined {
  if (pathname === '/') return PLACES[0];
  return PLACES.find((place) => place.to !== '/' && (pathname === place.to || pathname.startsWith(`${place.to}/`)));
}
