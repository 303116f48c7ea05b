/** How two contents differ: item by item, and texts of files line by line. */
import { DiffView, diffLines, withContext } from '@/components/object-editor';
import { useText } from '@/i18n/language';
import { differences } from '../deployments/content';
import type { Content } from '../deployments/types';
import { visibleText } from '../text/visible';
import texts from './text';
import './content-diff.css';

const SIGN = { added: '+', removed: '−', changed: '~' } as const;

export function ContentDiff({ from, to }: { from: Content | undefined; to: Content | undefined }) {
  const t = useText(texts);
  const found = differences(from, to);
  if (found.length === 0) return <p className="ek-dim">{t('same')}</p>;
  return (
    <ul className="content-diff">
      {found.map((one) => (
        <li key={one.key}>
          <div className={`content-item content-${one.kind}`}>
            <span aria-hidden className="content-sign">{SIGN[one.kind]}</span>
            <strong>{visibleText(one.key)}</strong>
            <span className="content-values">
              {one.from?.value !== one.to?.value && (
                <>
                  {one.from ? <del>{visibleText(one.from.value)}</del> : <span className="ek-dim">{t('absent')}</span>}
                  <span aria-hidden> → </span>
                  {one.to ? <ins>{visibleText(one.to.value)}</ins> : <span className="ek-dim">{t('absent')}</span>}
                </>
              )}
            </span>
          </div>
          {one.from?.text !== one.to?.text && <DiffView lines={withContext(diffLines(one.from?.text ?? '', one.to?.text ?? ''))} />}
        </li>
      ))}
    </ul>
  );
}
