import { Said } from '../text/Said';
import css from './logs.module.css';
import type { Part } from './template';

/** A text of which some parts vary from line to line. */
export function Marked({ parts }: { parts: Part[] }) {
  return (
    <>
      {parts.map((part, at) =>
        part.varies ? (
          <mark key={at} className={css.varies}>
            <Said text={part.text} />
          </mark>
        ) : (
          <Said key={at} text={part.text} />
        ),
      )}
    </>
  );
}
