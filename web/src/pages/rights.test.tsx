import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { App } from 'antd';
import type { ReactElement } from 'react';
import { renderToStaticMarkup } from 'react-dom/server';
import { MemoryRouter, Route, Routes } from 'react-router';
import { describe, expect, it, vi } from 'vitest';
import { SessionProvider } from '@/api/session';
import type { Session, Verb } from '@/api/types';
import DevicePage from './device';
import { WaitWords } from './deployments/wait-words';
import Roles from './roles';
import Silences from './silences';
import Source from './source';

// Charts are drawn by a browser only.
vi.mock('./device/Charts', () => ({ Charts: () => null }));

type Held = Readonly<Record<string, readonly Verb[]>>;

const session: Session = { signedIn: true, mode: 'kubernetes', providers: [], needsFirstUser: false, version: '' };
const named = (name: string, spec: object) => ({ metadata: { namespace: 'default', name }, spec });
const answers: [string, object | undefined, unknown][] = [
  ['/roles', { limit: 1000 }, { items: [named('web', { subjects: [{ user: 'ann' }], allow: [] })] }],
  ['/repositories', { limit: 1000 }, { items: [named('fleet', { url: 'https://git.example.com/fleet' })] }],
  ['/source', undefined, { url: 'kubernetes', inForce: '', author: '', findings: [] }],
  ['/devices/default/web-01', undefined, named('web-01', { address: 'web-01' })],
];
const silences = [named('now', { until: '2999-01-01T00:00:00Z', reason: 'x' }), named('over', { until: '2000-01-01T00:00:00Z', reason: 'x' })];

/** The page for somebody with these rights: its buttons, those that can't be used with a `-` before. */
function buttons(page: ReactElement, verbs: Held, at = '/'): string[] {
  const queries = new QueryClient({ defaultOptions: { queries: { staleTime: Number.POSITIVE_INFINITY } } });
  queries.setQueryData(['/access'], { isAdmin: false, verbs });
  queries.setQueryData(['/silences', { limit: 1000 }], { pages: [{ items: silences, cursor: null }], pageParams: [null] });
  for (const [path, query, answer] of answers) queries.setQueryData(query ? [path, query] : [path], answer);
  const html = renderToStaticMarkup(
    <QueryClientProvider client={queries}>
      <MemoryRouter initialEntries={[at]}>
        <SessionProvider session={session}>
          <App><Routes><Route path="/devices/:namespace/:name" element={page} /><Route path="*" element={page} /></Routes></App>
        </SessionProvider>
      </MemoryRouter>
    </QueryClientProvider>,
  );
  return [...html.matchAll(/<button([^>]*)>(.*?)<\/button>/gs)].map(([, attributes, text = '']) => `${attributes?.includes('aria-disabled="true"') ? '-' : ''}${text.replace(/<[^>]*>/g, '').trim()}`);
}

describe('what may be done is what the engine asks for', () => {
  it('the source is checked by who may deploy Repositories', () => {
    expect(buttons(<Source />, { Repository: ['view', 'deploy'] })).toContain('Check now');
    expect(buttons(<Source />, { Repository: ['view', 'edit'] })).toContain('-Check now');
  });

  it('a Silence is ended and deleted by who may mute, or edit Silences', () => {
    const allowed: Held[] = [{ Silence: ['edit'] }, { Silence: ['silence'] }, { Device: ['silence'] }];
    for (const held of allowed) {
      expect(buttons(<Silences />, held)).toEqual(expect.arrayContaining(['End now', 'Edit']));
      expect(buttons(<Silences />, held, '/silences?show=ended')).toEqual(expect.arrayContaining(['Edit', 'Delete']));
    }
    const denied = { Silence: ['view'], Device: ['view', 'edit'] } as const;
    expect(buttons(<Silences />, denied)).toEqual(expect.arrayContaining(['-End now', '-Edit']));
    expect(buttons(<Silences />, denied, '/silences?show=ended')).toEqual(expect.arrayContaining(['-Edit', '-Delete']));
  });

  it('a Device, a Role and a Repository is deleted by who may edit it', () => {
    const device = (held: Held) => buttons(<DevicePage />, held, '/devices/default/web-01');
    expect([device({ Device: ['view', 'edit'] }), buttons(<Roles />, { Role: ['edit'] }), buttons(<Source />, { Repository: ['edit'] })].map((all) => all.includes('Delete'))).toEqual([true, true, true]);
    expect([device({ Device: ['view'] }), buttons(<Roles />, { Role: ['view'] }), buttons(<Source />, { Repository: ['view'] })].map((all) => all.includes('-Delete'))).toEqual([true, true, true]);
  });
});

it('a time in the engine’s words is one of ours, with UTC on hover', () => {
  const html = renderToStaticMarkup(<WaitWords text="until 2026-11-27T12:00:00Z, for its window" />);
  expect(html).toMatch(/^<span>until <time dateTime="2026-11-27T12:00:00\.000Z"[^>]*>[\d: -]{19}<\/time>, for its window<\/span>$/);
});
