/** What a revision puts on devices, as items that can be compared with those of another one. */
import { fieldsOf, wordOf } from './lanes';
import type { Content, Tagged } from './types';

export interface Item {
  /** Such as `apt nginx` or `file /etc/motd`. */
  key: string;
  /** In a word or a few. */
  value: string;
  /** The whole text, of a file that has one. */
  text?: string;
}

export interface Difference {
  key: string;
  kind: 'added' | 'removed' | 'changed';
  from?: Item;
  to?: Item;
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const short = (digest: unknown): string => text(digest).slice(0, 12);

function packageItem(tagged: Tagged): Item {
  const fields = fieldsOf(tagged);
  if (wordOf(tagged) === 'Apt') {
    const hold = fields.hold === true ? ' (held)' : '';
    return { key: `apt ${text(fields.name)}`, value: `${text(fields.version)}${hold}` };
  }
  return { key: `archive ${text(fields.into)}`, value: `${short(fields.sha256)} ${text(fields.url)}`.trim() };
}

function fileItem(file: NonNullable<Content['files']>[number]): Item {
  const word = wordOf(file.source);
  const inner = typeof file.source === 'string' ? undefined : Object.values(file.source)[0];
  const rights = [file.mode, file.owner && file.group ? `${file.owner}:${file.group}` : file.owner].filter(Boolean).join(' ');
  const item: Item = { key: `file ${file.path}`, value: rights };
  if (typeof inner === 'string') {
    item.text = inner;
    return item;
  }
  const fields = fieldsOf(file.source);
  if (word === 'Url') item.value = `${short(fields.sha256)} ${text(fields.url)} ${rights}`.trim();
  // A secret is named, never shown.
  if (word === 'Secret') item.value = `secret ${text(fields.name)}/${text(fields.key)} ${rights}`.trim();
  return item;
}

/** All that a content decides, in its order. */
export function itemsOf(content: Content): Item[] {
  const checks = (name: string, list: unknown[] | undefined): Item[] =>
    list && list.length > 0 ? [{ key: `checks ${name}`, value: `${list.length}`, text: JSON.stringify(list, null, 2) }] : [];
  return [
    ...(content.packages ?? []).map(packageItem),
    ...(content.files ?? []).map(fileItem),
    ...(content.services ?? []).map((service) => ({ key: `service ${service.unit}`, value: service.after })),
    ...checks('before', content.before),
    ...checks('after', content.after),
    ...(content.reboot && content.reboot !== 'Never' ? [{ key: 'reboot', value: content.reboot }] : []),
  ];
}

/** A content in a few words: `nginx 1.24.0-1, 3 files`. */
export function summaryOf(content: Content | undefined): string {
  if (!content) return '';
  const packages = (content.packages ?? []).map((tagged) => {
    const fields = fieldsOf(tagged);
    return wordOf(tagged) === 'Apt' ? `${text(fields.name)} ${text(fields.version)}` : `${text(fields.into)} ${short(fields.sha256)}`;
  });
  const files = content.files ?? [];
  const rest = files.length === 1 ? [files[0]?.path ?? ''] : files.length > 1 ? [`${files.length} files`] : [];
  return [...packages, ...rest].slice(0, 4).join(', ');
}

/** What differs from one content to another, in the order of the newer one, then what is gone. */
export function differences(from: Content | undefined, to: Content | undefined): Difference[] {
  const before = new Map(itemsOf(from ?? {}).map((item) => [item.key, item]));
  const result: Difference[] = [];
  const after = itemsOf(to ?? {});
  for (const item of after) {
    const old = before.get(item.key);
    before.delete(item.key);
    if (!old) result.push({ key: item.key, kind: 'added', to: item });
    else if (old.value !== item.value || old.text !== item.text) result.push({ key: item.key, kind: 'changed', from: old, to: item });
  }
  for (const old of before.values()) result.push({ key: old.key, kind: 'removed', from: old });
  return result;
}
