/** What keeps an alert from being said, and until when. */
import { EyeInvisibleOutlined } from '@ant-design/icons';
import { Time } from '@/components';
import { useText } from '@/i18n/language';
import { visibleText } from '../text/visible';
import texts from './text';
import type { Suppression } from './types';

const KINDS: Record<string, keyof typeof texts> = {
  silence: 'kindSilence',
  maintenance: 'kindMaintenance',
  parent: 'kindParent',
  returned: 'kindReturned',
  rollout: 'kindRollout',
  inhibited: 'kindInhibited',
};

/** The end that a text names, where the engine gives no field for it: `… until 2026-11-26T12:00:00Z`. */
export function endOf(one: Suppression): string | undefined {
  return one.until ?? /until (\d{4}-\d\d-\d\dT[\d:.]+Z)/.exec(one.text)?.[1];
}

export function Suppressions({ of }: { of: Suppression[] }) {
  const t = useText(texts);
  return (
    <ul className="suppressions">
      {of.map((one, index) => {
        const kind = KINDS[one.kind.toLowerCase()];
        const end = endOf(one);
        return (
          <li key={index} title={visibleText(one.text)}>
            <EyeInvisibleOutlined aria-hidden /> {kind ? t(kind) : visibleText(one.kind)}
            {one.by && <span className="ek-dim"> · {visibleText(one.by)}</span>}
            <span className="ek-dim"> · {end ? <>{t('until')} <Time at={end} /></> : t('untilOpen')}</span>
          </li>
        );
      })}
    </ul>
  );
}
