/** Where an object stands in the source. */
import { pathOf, type Named } from '@/lib/name';
import { useGet } from './query';
import type { Plural } from './types';

/** `file:line`, as soon as it is known, where the engine knows it: in a cluster it does not. */
export function useOrigin(plural: Plural, name: Named): string | undefined {
  const read = useGet<{ file?: string | null; line?: number | null }>(`/${plural}/${pathOf(name)}/origin`, undefined, { staleTime: 60_000, retry: false });
  const { file, line } = read.data ?? {};
  return file ? `${file}:${line ?? 1}` : undefined;
}
