/**
 * Reading and doing, as pages use it. The key of a query is `[path, query]`: that is what the change feed invalidates
 * (see events.ts), so there is nothing to declare per page.
 */
import {
  keepPreviousData, QueryClient, type UseQueryOptions, useInfiniteQuery, useMutation, useQuery, useQueryClient,
} from '@tanstack/react-query';
import { App } from 'antd';
import { call, get, type Method, type Query, Refused, type Sent } from './http';
import type { List } from './types';
import { whole } from './whole';

export const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      refetchOnWindowFocus: true,
      // What was refused is refused again; only an engine that does not answer, or is busy, is asked once more.
      retry: (failures, error) => failures < 2 && error instanceof Refused && [0, 429, 502, 503, 504].includes(error.status),
      retryDelay: (failures, error) => (error instanceof Refused && error.retryAfter ? error.retryAfter * 1000 : 500 * 2 ** failures),
    },
  },
});

type Options<T> = Omit<UseQueryOptions<T, Refused, T, [string, Query?]>, 'queryKey' | 'queryFn'>;

/** Reads one thing: `useGet<Device>('/devices/default/web-01')`. Off with `{enabled: false}`. */
export function useGet<T>(path: string, query?: Query, options?: Options<T>) {
  return useQuery<T, Refused, T, [string, Query?]>({
    queryKey: query ? [path, query] : [path],
    queryFn: async ({ signal }) => whole(await get<T>(path, query, signal)),
    ...options,
  });
}

/** What a list calls the place where its next page begins, where it is not `cursor`; the answers all call it so. */
const NEXT: Readonly<Record<string, string>> = { '/audit': 'before' };

/** How the pages of a list are read. */
export function pagesOf<L extends List<unknown>>(path: string, asked: Query) {
  return {
    queryKey: [path, asked] as [string, Query],
    queryFn: async ({ pageParam, signal }: { pageParam: string | null; signal: AbortSignal }) =>
      whole(await get<L>(path, { ...asked, [NEXT[path] ?? 'cursor']: pageParam }, signal)),
    initialPageParam: null as string | null,
    getNextPageParam: (last: L) => last.cursor ?? undefined,
  };
}

/** Reads a list a page at a time; `items` are all that were read so far. What was there stays while a filter changes. */
export function useList<T, L extends List<T> = List<T>>(path: string, query: Query = {}, options: { enabled?: boolean; limit?: number } = {}) {
  const asked: Query = { limit: options.limit ?? 100, ...query };
  const read = useInfiniteQuery<L, Refused, { pages: L[] }, [string, Query], string | null>({
    ...pagesOf<L>(path, asked),
    placeholderData: keepPreviousData,
    enabled: options.enabled ?? true,
  });
  const pages = read.data?.pages ?? [];
  const items = pages.flatMap((page) => page.items);
  return { ...read, first: pages[0], items, total: pages[0]?.total ?? items.length };
}

export interface Deed extends Sent {
  method?: Method;
  path: string;
}

interface Done<R> {
  /** Said when it is done; the answer's own `message` where nothing is given. */
  said?: string | ((answer: R) => string | undefined);
  /** Paths whose queries are fetched anew at once, without waiting for the change feed. */
  renews?: string[];
  onDone?: (answer: R) => void;
  /** The caller shows the problem itself (in a form); else it is shown as a message. */
  quiet?: boolean;
}

/** Does something: `const pause = useDeed({renews: ['/rollouts']}); pause.mutate({path: '/deployments/default/web/pause'})`. */
export function useDeed<R = { message?: string } | undefined>(done: Done<R> = {}) {
  const queries = useQueryClient();
  const { message } = App.useApp();
  return useMutation<R, Refused, Deed>({
    mutationFn: ({ method = 'POST', path, ...sent }) => call<R>(method, path, sent),
    onSuccess: (answer) => {
      const said = typeof done.said === 'function' ? done.said(answer) : (done.said ?? (answer as { message?: string } | undefined)?.message);
      if (said) message.success(said);
      renew(queries, done.renews ?? []);
      done.onDone?.(answer);
    },
    onError: (problem) => {
      if (!done.quiet) message.error(problem.message, 8);
    },
  });
}

/** Fetches anew whatever was read under these paths. */
export function renew(queries: QueryClient, paths: readonly string[]): void {
  if (paths.length === 0) return;
  const under = (path: string) => paths.some((prefix) => path === prefix || path.startsWith(`${prefix}/`));
  void queries.invalidateQueries({ predicate: ({ queryKey: [path] }) => typeof path === 'string' && under(path) });
}
