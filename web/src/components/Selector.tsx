import { Input, Tooltip } from 'antd';
import { useEffect, useState } from 'react';
import { useText } from '@/i18n/language';
import { parseSelector } from '@/lib/selector';
import texts from './text';

/** A field for a label selector; what is not one yet is not passed on, and what is wrong with it is said. */
export function Selector({ value, onChange, width = 280 }: { value: string; onChange: (selector: string) => void; width?: number }) {
  const t = useText(texts);
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  const parsed = parseSelector(typed);
  const problem = 'problem' in parsed ? t(({ key: 'badKey', value: 'badValue', parentheses: 'badParentheses' } as const)[parsed.problem], { at: parsed.at }) : '';
  const pass = () => {
    if (!problem) onChange(typed.trim());
  };
  return (
    <Tooltip title={problem} open={problem !== '' && typed !== value}>
      <Input
        allowClear
        style={{ width }}
        aria-label={t('selectorHint')}
        placeholder={t('selectorHint')}
        value={typed}
        status={problem ? 'error' : ''}
        onChange={(event) => {
          setTyped(event.target.value);
          if (event.target.value === '') onChange('');
        }}
        onPressEnter={pass}
        onBlur={pass}
      />
    </Tooltip>
  );
}
