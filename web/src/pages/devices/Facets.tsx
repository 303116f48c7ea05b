import { Button, Checkbox } from 'antd';
import type { DeviceList } from '@/api/types';
import { Health, UpdateState } from '@/components';
import words from '@/components/text';
import { useText } from '@/i18n/language';
import { count } from '@/lib/units';
import { FACETS, type Facet, valuesOf } from './search';
import texts from './text';

/** Values in the order in which they matter, not in that of how many there are. */
const USUAL: Partial<Record<Facet, string[]>> = {
  health: ['Unreachable', 'Degraded', 'Unknown', 'Healthy'],
  update: ['Blocked', 'Updating', 'OutOfDate', 'Unknown', 'UpToDate'],
  type: ['Server', 'Network', 'Storage'],
};
/** Sites that are listed; the search finds those beyond. */
const MOST = 24;

interface Props {
  counts: DeviceList['facets'];
  chosen: Readonly<Record<Facet, readonly string[]>>;
  onChoose: (facet: Facet, values: string[]) => void;
  onClear: (() => void) | undefined;
}

/** How many devices there are of which kind, to choose from. */
export function Facets({ counts, chosen, onChoose, onClear }: Props) {
  const t = useText(texts);
  const w = useText(words);
  const shown = (facet: Facet, value: string) => {
    if (facet === 'health') return <Health value={value} bare />;
    if (facet === 'update') return <UpdateState value={value} bare />;
    if (value === '') return <span className="ek-dim">{t('none')}</span>;
    return <span>{facet === 'type' && value in words ? w(value as keyof typeof words) : value}</span>;
  };
  return (
    <div className="ek-facets">
      {FACETS.map((facet) => (
        <fieldset key={facet}>
          <legend>{t(facet)}</legend>
          {valuesOf(counts?.[facet], chosen[facet], USUAL[facet]).slice(0, MOST).map(([value, number]) => (
            <Checkbox
              key={value}
              checked={chosen[facet].includes(value)}
              onChange={({ target }) => onChoose(facet, target.checked ? [...chosen[facet], value] : chosen[facet].filter((other) => other !== value))}
            >
              <span className="ek-facet">{shown(facet, value)}<span className="ek-num ek-dim">{count(number)}</span></span>
            </Checkbox>
          ))}
        </fieldset>
      ))}
      {onClear && <Button size="small" onClick={onClear}>{t('clear')}</Button>}
    </div>
  );
}
