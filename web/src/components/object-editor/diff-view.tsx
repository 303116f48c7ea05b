/** A difference, line by line: added and removed by sign and colour. */
import { visible } from '@/pages/text/visible';
import { useText } from '@/i18n/language';
import { countsOf, type DiffLine } from './diff';
import './editor.css';
import texts from './text';

const SIGN: Record<DiffLine['kind'], string> = { same: ' ', added: '+', removed: '−', head: ' ' };
/** Lines that are put on the page. */
const MOST = 3000;

export function DiffView({ lines, title, empty }: { lines: DiffLine[]; title?: string; empty?: string }) {
  const t = useText(texts);
  if (lines.every((line) => line.kind === 'same')) return <p className="diff-nothing">{empty ?? t('nothing')}</p>;
  return (
    <figure className="diff">
      <figcaption>
        {title && <span className="diff-title">{title}</span>}
        <span>{t('counts', countsOf(lines))}</span>
      </figcaption>
      <table>
        <tbody>
          {lines.slice(0, MOST).map((line, index) => (
            <tr key={index} className={`diff-${line.kind}`}>
              <td className="diff-number">{line.old ?? ''}</td>
              <td className="diff-number">{line.new ?? ''}</td>
              <td className="diff-sign">{SIGN[line.kind]}</td>
              <td className="diff-text">
                {visible(line.text, true).map((piece, at) => (
                  <span key={at} title={piece.sign} className={piece.sign ? 'diff-unseen' : undefined}>
                    {piece.text}
                  </span>
                ))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {lines.length > MOST && <p className="diff-nothing">{t('long', { n: lines.length - MOST })}</p>}
    </figure>
  );
}
