import css from './logs.module.css';

const WIDE = 144;
const HIGH = 24;

/** Bars of lines in each part of a time, the oldest first. */
export function Spark({ parts, say }: { parts: number[]; say: (lines: number) => string }) {
  const most = Math.max(1, ...parts);
  const wide = WIDE / Math.max(1, parts.length);
  return (
    <svg width={WIDE} height={HIGH} role="img" aria-label={parts.join(' ')} className={css.spark}>
      {parts.map((lines, at) => {
        const height = lines > 0 ? Math.max(2, (lines / most) * (HIGH - 2)) : 1;
        return (
          <rect key={at} x={at * wide + 0.5} y={HIGH - height} width={Math.max(1, wide - 1)} height={height} className={lines > 0 ? css.sparkBar : css.sparkNone}>
            <title>{say(lines)}</title>
          </rect>
        );
      })}
    </svg>
  );
}
