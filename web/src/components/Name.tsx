import { Link } from 'react-router';
import { type Named, parseName, pathOf, shownName } from '@/lib/name';

const PLACES: Readonly<Record<string, string>> = {
  Device: '/devices',
  Deployment: '/deployments',
  AlertRule: '/rules',
};

/** Where an object has its page; `undefined` if it has none. */
export function placeOf(kind: string, named: Named): string | undefined {
  const place = PLACES[kind];
  return place && `${place}/${pathOf(named)}`;
}

/** The name of an object, linked to its page: `<Name kind="Device" of="ns/name" />`. */
export function Name({ kind, of }: { kind: 'Device' | 'Deployment' | 'AlertRule' | string; of: string | Named }) {
  const named = typeof of === 'string' ? parseName(of) : of;
  const place = placeOf(kind, named);
  const shown = shownName(named);
  return place ? <Link to={place} className="ek-name">{shown}</Link> : <span className="ek-name">{shown}</span>;
}

const TARGET = /^(device|deployment|alertrule|rule|role|repository|receiver|silence)\/(.+)$/i;
const KINDS: Readonly<Record<string, string>> = { device: 'Device', deployment: 'Deployment', alertrule: 'AlertRule', rule: 'AlertRule' };

/** What something is about, such as `device/web-01`: linked if it has a page. */
export function Target({ of }: { of: string | null | undefined }) {
  if (!of) return null;
  const [, word = '', name = ''] = TARGET.exec(of) ?? [];
  const kind = KINDS[word.toLowerCase()];
  if (kind) return <Name kind={kind} of={name} />;
  const commit = /^commit\/([0-9a-f]{7,64})$/.exec(of)?.[1];
  return commit ? <code title={commit}>{commit.slice(0, 10)}</code> : <span className="ek-name">{of}</span>;
}
