import { Fragment, type ReactNode } from 'react';
import { useOrigin } from '@/api/origin';
import type { Device } from '@/api/types';
import { Labels, Name, Part } from '@/components';
import words from '@/components/text';
import { useText } from '@/i18n/language';
import { bytes } from '@/lib/units';
import { visibleText } from '../text/visible';
import texts from './text';

/** What kind of machine it is, where it hangs, where it is written down. */
export function Facts({ of }: { of: Device }) {
  const t = useText(texts);
  const w = useText(words);
  const facts = of.status?.facts;
  const parents = of.spec?.parents ?? [];
  const namespace = of.metadata.namespace ?? 'default';
  const origin = of.origin;
  const place = useOrigin('devices', { namespace, name: of.metadata.name });
  const rows: [string, ReactNode][] = [
    [t('type'), of.spec?.type && of.spec.type in words ? w(of.spec.type) : of.spec?.type],
    [t('class'), of.spec?.class],
    [t('address'), <span key="a" className="ek-num">{of.effective?.address ?? of.spec?.address}</span>],
    [t('os'), [facts?.os, facts?.osVersion].filter(Boolean).join(' ')],
    [t('kernel'), facts?.kernel],
    [t('arch'), facts?.arch],
    [t('cpus'), facts?.cpus || ''],
    [t('memory'), facts?.memoryBytes ? bytes(facts.memoryBytes) : ''],
    [t('serial'), facts?.serial],
    [t('parents'), parents.length > 0 && <span className="ek-labels">{parents.map((parent) => <Name key={parent} kind="Device" of={parent.includes('/') ? parent : { namespace, name: parent }} />)}</span>],
    [t('labels'), <Labels key="l" of={of.effective?.labels ?? of.metadata.labels} />],
    [t('written'), place && <><code className="ek-pre">{visibleText(place)}</code>{origin?.author && <><br /><span className="ek-dim">{t('by', { author: origin.author.replace(/\s*<[^>]*>/, '') })}</span></>}</>],
  ];
  return (
    <Part title={t('facts')}>
      <dl className="ek-facts">
        {rows.filter(([, value]) => value !== undefined && value !== '' && value !== false && value !== null).map(([title, value]) => (
          <Fragment key={title}><dt>{title}</dt><dd>{value}</dd></Fragment>
        ))}
      </dl>
    </Part>
  );
}
