import { share } from '@/lib/units';

/** From here on a share is worth a look, and from there on it is bad: only for how it is shown, rules decide what is wrong. */
const HIGH = 0.8;
const TOO_HIGH = 0.9;

/** A share with its number and a bar; `of` names what it is of. */
export function Meter({ ratio, of }: { ratio: number | undefined; of?: string | undefined }) {
  if (ratio === undefined) return <span className="ek-dim">–</span>;
  const tone = ratio >= TOO_HIGH ? 'bad' : ratio >= HIGH ? 'warn' : 'plain';
  return (
    <span className={`ek-meter ek-meter-${tone}`} title={of ? `${of} ${share(ratio, 1)}` : share(ratio, 1)}>
      <span className="ek-meter-bar" aria-hidden="true"><i style={{ width: `${Math.min(100, Math.max(2, ratio * 100))}%` }} /></span>
      <span className="ek-num">{share(ratio)}</span>
    </span>
  );
}
