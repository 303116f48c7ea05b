import type { UseQueryResult } from '@tanstack/react-query';
import { Skeleton } from 'antd';
import type { ReactNode } from 'react';
import type { Refused } from '@/api/http';
import { Problem } from './Problem';

interface Props<T> {
  of: Pick<UseQueryResult<T, Refused>, 'data' | 'error' | 'isPending' | 'refetch'>;
  children: (data: T) => ReactNode;
  /** Lines of the grey shape that is shown meanwhile. */
  lines?: number;
}

/** What was read, or that it is being read, or why it can't be. What was read before stays visible beside a problem. */
export function Fetched<T>({ of, children, lines = 4 }: Props<T>) {
  if (of.data !== undefined) {
    return (
      <>
        {of.error && <Problem error={of.error} retry={() => void of.refetch()} />}
        {children(of.data)}
      </>
    );
  }
  if (of.error) return <Problem error={of.error} retry={() => void of.refetch()} />;
  return <Skeleton active title={false} paragraph={{ rows: lines }} />;
}
