import { Tag } from 'antd';

/** Labels, as `key=value`. */
export function Labels({ of, onPick }: { of: Readonly<Record<string, string>> | undefined; onPick?: (selector: string) => void }) {
  const entries = Object.entries(of ?? {});
  if (entries.length === 0) return <span className="ek-dim">–</span>;
  return (
    <span className="ek-labels">
      {entries.map(([key, value]) =>
        onPick ? (
          <button type="button" key={key} className="ek-label" onClick={() => onPick(`${key}=${value}`)}>{`${key}=${value}`}</button>
        ) : (
          <Tag key={key} className="ek-label">{`${key}=${value}`}</Tag>
        ),
      )}
    </span>
  );
}
