import { Link } from 'react-router';
import { useLanguage } from '@/i18n/language';
import { Said } from '../text/Said';
import css from './audit.module.css';
import { about, type Entry } from './entry';
import { sentence } from './sentence';

/** What an entry says, with links to what it is about. */
export function Sentence({ entry }: { entry: Entry }) {
  const { language } = useLanguage();
  return (
    <>
      {sentence(entry, language).map((part, at) => {
        switch (part.kind) {
          case 'who':
            return <b key={at} className={css.who}><Said text={part.text} /></b>;
          case 'target':
          case 'unit':
            return <Address key={at} of={part.text} />;
          default:
            return <Said key={at} text={part.text} />;
        }
      })}
    </>
  );
}

function Address({ of }: { of: string }) {
  const { kind, shown, path } = about(of);
  const text = kind && kind !== 'commit' ? `${kind}/${shown}` : shown;
  if (path) return <Link to={path} className="ek-name"><Said text={text} /></Link>;
  return kind === 'commit' ? <code title={of}><Said text={text} /></code> : <span className="ek-name"><Said text={text} /></span>;
}
