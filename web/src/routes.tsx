/** All pages, each in a file of its own that is fetched when it is opened. */
import type { ComponentType } from 'react';

export interface Route {
  /** Pattern of its address. */
  path: string;
  /** Folder below `pages/`. */
  page: string;
}

export const ROUTES: readonly Route[] = [
  { path: '/', page: 'overview' },
  { path: '/devices', page: 'devices' },
  { path: '/devices/:namespace/:name', page: 'device' },
  { path: '/deployments', page: 'deployments' },
  { path: '/deployments/:namespace/:name', page: 'deployment' },
  { path: '/alerts', page: 'alerts' },
  { path: '/alerts/:id', page: 'alert' },
  { path: '/rules', page: 'rules' },
  { path: '/rules/:namespace/:name', page: 'rule' },
  { path: '/receivers', page: 'receivers' },
  { path: '/silences', page: 'silences' },
  { path: '/logs', page: 'logs' },
  { path: '/topology', page: 'topology' },
  { path: '/source', page: 'source' },
  { path: '/audit', page: 'audit' },
  { path: '/roles', page: 'roles' },
  { path: '/users', page: 'users' },
  { path: '/tokens', page: 'tokens' },
];

type Loaded = { default: ComponentType };

const FILES = import.meta.glob<Loaded>('./pages/*/index.tsx');

/** Fetches the code of a page. */
export function load(page: string): Promise<Loaded> {
  const file = FILES[`./pages/${page}/index.tsx`];
  return file ? file() : Promise.reject(new Error(`pages/${page}/index.tsx is missing`));
}
