import { Skeleton } from 'antd';
import { type ReactNode, useEffect, useRef } from 'react';
import { Health, Meter, Name, UpdateState } from '@/components';
import { useText } from '@/i18n/language';
import { usesOf } from '@/lib/uses';
import type { Row } from './columns';
import texts from './text';

interface Props {
  rows: readonly Row[];
  loading: boolean;
  none: ReactNode;
  more: boolean;
  onEnd: () => void;
}

/** Devices on a phone. */
export function Cards({ rows, loading, none, more, onEnd }: Props) {
  const t = useText(texts);
  const end = useRef<HTMLDivElement>(null);
  const reached = useRef(onEnd);
  reached.current = onEnd;
  useEffect(() => {
    if (!end.current) return;
    const watch = new IntersectionObserver(([entry]) => entry?.isIntersecting && reached.current(), { rootMargin: '400px' });
    watch.observe(end.current);
    return () => watch.disconnect();
  }, []);
  if (loading) return <Skeleton active paragraph={{ rows: 8 }} title={false} />;
  return (
    <div className="ek-cards">
      {rows.length === 0 && none}
      <ul>
        {rows.map((row) => {
          const uses = usesOf(row.uses);
          return (
            <li key={`${row.metadata.namespace}/${row.metadata.name}`} className="ek-part">
              <span className="ek-card-line"><Name kind="Device" of={{ namespace: row.metadata.namespace ?? 'default', name: row.metadata.name }} /><span className="ek-dim ek-num">{row.effective?.address ?? row.spec?.address}</span></span>
              <span className="ek-card-line"><span className="ek-labels"><Health value={row.status?.health} /><UpdateState value={row.status?.update} /></span><span className="ek-dim">{row.metadata.labels?.site}</span></span>
              {uses.problem ? <span className="ek-dim ek-cut">{t('notRead', { problem: uses.problem })}</span> : uses.cpu !== undefined && (
                <dl className="ek-card-uses">
                  <div><dt>{t('cpu')}</dt><dd><Meter ratio={uses.cpu} /></dd></div>
                  <div><dt>{t('memory')}</dt><dd><Meter ratio={uses.memory} /></dd></div>
                  <div><dt>{t('disk')}</dt><dd><Meter ratio={uses.disk?.ratio} of={uses.disk?.name} /></dd></div>
                </dl>
              )}
            </li>
          );
        })}
      </ul>
      <div ref={end}>{more && <Skeleton active paragraph={{ rows: 2 }} title={false} />}</div>
    </div>
  );
}
