import { useText } from '@/i18n/language';
import texts from './text';

/** Lines of a diff that are shown; what is beyond would only make the browser slow. */
const MOST = 4_000;

/** A unified diff. Added and removed lines have their sign, and say so to whoever listens. */
export function Diff({ text }: { text: string }) {
  const t = useText(texts);
  if (!text.trim()) return <p className="ek-dim">{t('noDiff')}</p>;
  const lines = text.replace(/\n$/, '').split('\n');
  return (
    <pre className="ek-diff" tabIndex={0}>
      {lines.slice(0, MOST).map((line, index) => {
        const kind = kindOf(line);
        return (
          <div key={index} className={`ek-diff-${kind}`}>
            {(kind === 'added' || kind === 'removed') && <span className="ek-hidden">{t(kind)}: </span>}
            {line || ' '}
          </div>
        );
      })}
      {lines.length > MOST && <div className="ek-dim">{t('more', { n: lines.length - MOST })}</div>}
    </pre>
  );
}

function kindOf(line: string): 'head' | 'place' | 'added' | 'removed' | 'same' {
  if (line.startsWith('+++') || line.startsWith('---') || line.startsWith('diff ') || line.startsWith('index ')) return 'head';
  if (line.startsWith('@@')) return 'place';
  if (line.startsWith('+')) return 'added';
  return line.startsWith('-') ? 'removed' : 'same';
}
