import { QueryClient } from '@tanstack/react-query';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { paths } from './openapi';
import { pagesOf } from './query';

/** The engine, with two pages of everything: what it was asked for. */
async function asked(path: string): Promise<string[]> {
  const urls: string[] = [];
  vi.stubGlobal('fetch', async (url: string) => {
    urls.push(url);
    return new Response(JSON.stringify({ items: [urls.length], cursor: urls.length === 1 ? '17' : null }));
  });
  await new QueryClient().fetchInfiniteQuery({ ...pagesOf(path, { limit: 1 }), pages: 3 });
  return urls;
}

describe('the pages of a list', () => {
  afterEach(() => void vi.unstubAllGlobals());

  it('are read from the first to the last', async () => {
    expect(await asked('/devices')).toEqual(['/api/v1/devices?limit=1', '/api/v1/devices?limit=1&cursor=17']);
  });

  it('of the audit log go on with `before`: it knows no other', async () => {
    const next: keyof NonNullable<paths['/audit']['get']['parameters']['query']> = 'before';
    expect(await asked('/audit')).toEqual(['/api/v1/audit?limit=1', `/api/v1/audit?limit=1&${next}=17`]);
  });
});
