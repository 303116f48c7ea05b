import { CloseCircleFilled } from '@ant-design/icons';
import { AutoComplete, Button, DatePicker, Input, Select, Tag } from 'antd';
import dayjs from 'dayjs';
import { type ReactNode, useEffect, useState } from 'react';
import { useGet } from '@/api/query';
import type { Device, List } from '@/api/types';
import { useLanguage, useText } from '@/i18n/language';
import { fullName, parseName, shownName } from '@/lib/name';
import { usePaused } from '@/lib/pause';
import { span } from '@/lib/time';
import { type Filters, isNarrowed } from './filters';
import css from './logs.module.css';
import { SEVERITIES } from './model';
import { milliseconds, OFFERED, type Range } from './range';
import texts from './text';

type Props = { filters: Filters; onSet: (next: Partial<Filters>) => void; withRange?: boolean; only?: 'device'; extra?: ReactNode };

/** What is looked for. */
export function Bar({ filters, onSet, withRange = true, only, extra }: Props) {
  const t = useText(texts);
  return (
    <search className={css.bar}>
      {!only && <Words key={filters.q} value={filters.q} onSet={(q) => onSet({ q })} />}
      <DeviceField value={filters.device} onSet={(device) => onSet({ device, unknown: '' })} />
      {!only && (
        <>
          <Select
            className={css.severity}
            aria-label={t('severity')}
            value={filters.severity}
            onChange={(severity) => onSet({ severity })}
            options={[
              { value: '', label: t('anySeverity') },
              ...SEVERITIES.map((severity, number) => ({ value: String(number), label: number === 0 ? t(severity) : t('orGraver', { severity: t(severity) }) })),
            ]}
          />
          <Program key={`p${filters.program}`} value={filters.program} onSet={(program) => onSet({ program })} />
        </>
      )}
      {withRange && <RangeField range={filters.range} onSet={(range) => onSet({ range })} />}
      {filters.template !== '' && !only && (
        <Tag closable onClose={() => onSet({ template: '' })}>
          {t('template', { id: filters.template })}
        </Tag>
      )}
      {filters.unknown !== '' && !only && (
        <Tag closable onClose={() => onSet({ unknown: '' })}>
          {t('unknownSender')}
        </Tag>
      )}
      {isNarrowed(filters) && !only && (
        <Button type="text" size="small" icon={<CloseCircleFilled />} onClick={() => onSet({ q: '', device: '', severity: '', program: '', template: '', unknown: '' })}>
          {t('clearAll')}
        </Button>
      )}
      {extra && <span className={css.extra}>{extra}</span>}
    </search>
  );
}

/** It is asked for when Enter is pressed or the field is left: a pattern that is half written means nothing. */
function Words({ value, onSet }: { value: string; onSet: (words: string) => void }) {
  const t = useText(texts);
  const [typed, setTyped] = useState(value);
  const pass = (next: string): void => {
    if (next !== value) onSet(next);
  };
  return (
    <Input.Search
      className={css.words}
      aria-label={t('search')}
      placeholder={t('search')}
      value={typed}
      maxLength={500}
      allowClear
      spellCheck={false}
      onChange={(event) => setTyped(event.target.value)}
      onBlur={() => pass(typed)}
      onSearch={pass}
    />
  );
}

function Program({ value, onSet }: { value: string; onSet: (program: string) => void }) {
  const t = useText(texts);
  const [typed, setTyped] = useState(value);
  const pass = (): void => {
    if (typed !== value) onSet(typed);
  };
  return (
    <Input
      className={css.program}
      aria-label={t('program')}
      placeholder={t('anyProgram')}
      value={typed}
      maxLength={128}
      allowClear
      spellCheck={false}
      onChange={(event) => {
        setTyped(event.target.value);
        if (event.target.value === '' && value !== '') onSet('');
      }}
      onBlur={pass}
      onPressEnter={pass}
    />
  );
}

function DeviceField({ value, onSet }: { value: string; onSet: (device: string) => void }) {
  const t = useText(texts);
  const shown = value && shownName(parseName(value));
  const [typed, setTyped] = useState(shown);
  useEffect(() => setTyped(shown), [shown]);
  const words = usePaused(typed, 200);
  const devices = useGet<List<Device>>('/devices', { q: words, limit: 20, fields: 'metadata.name,metadata.namespace' });
  const options = (devices.data?.items ?? []).map(({ metadata }) => {
    const named = { namespace: metadata.namespace ?? 'default', name: metadata.name };
    return { value: shownName(named), name: fullName(named) };
  });
  const pass = (text: string): void => {
    const next = text.trim() === '' ? '' : fullName(parseName(text.trim()));
    if (next !== value) onSet(next);
  };
  return (
    <AutoComplete
      className={css.device}
      aria-label={t('device')}
      placeholder={t('anyDevice')}
      value={typed}
      options={options}
      allowClear
      onChange={(text: string | undefined) => {
        setTyped(text ?? '');
        if (!text) pass('');
      }}
      onSelect={(text) => pass(text ?? '')}
      onBlur={() => pass(typed)}
      onInputKeyDown={(event) => {
        if (event.key === 'Enter') pass(typed);
      }}
    />
  );
}

const OWN = 'own';

/** A range that moves with the clock, or two instants in the reader's zone. */
export function RangeField({ range, onSet }: { range: Range; onSet: (range: Range) => void }) {
  const t = useText(texts);
  const { language } = useLanguage();
  const last = 'last' in range ? range.last : OWN;
  const offered: string[] = last !== OWN && !(OFFERED as readonly string[]).includes(last) ? [last, ...OFFERED] : [...OFFERED];
  return (
    <>
      <Select
        className={css.range}
        aria-label={t('range')}
        value={last}
        onChange={(value) => {
          const now = Date.now();
          onSet(value === OWN ? { since: new Date(now - 3_600_000).toISOString(), until: new Date(now).toISOString() } : { last: value });
        }}
        options={[
          ...offered.map((value) => ({ value, label: t('last', { span: span((milliseconds(value) ?? 0) / 1000, language) }) })),
          { value: OWN, label: t('ownRange') },
        ]}
      />
      {!('last' in range) && (
        <DatePicker.RangePicker
          showTime
          allowClear={false}
          aria-label={t('ownRange')}
          value={[dayjs(range.since), dayjs(range.until)]}
          onChange={(chosen) => {
            const [since, until] = [chosen?.[0], chosen?.[1]];
            if (since && until && since.isBefore(until)) onSet({ since: since.toISOString(), until: until.toISOString() });
          }}
        />
      )}
    </>
  );
}
