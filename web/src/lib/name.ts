/** Namespace and name of an object. */
export interface Named {
  namespace: string;
  name: string;
}

/** Reads `ns/name`, or `name` in the namespace `default`. */
export function parseName(text: string): Named {
  const slash = text.indexOf('/');
  return slash < 0 ? { namespace: 'default', name: text } : { namespace: text.slice(0, slash), name: text.slice(slash + 1) };
}

/** How a name is shown: without the namespace where it is the usual one. */
export function shownName({ namespace, name }: Named): string {
  return namespace === 'default' || namespace === '' ? name : `${namespace}/${name}`;
}

/** `ns/name`, always with the namespace, as the API wants it. */
export function fullName({ namespace, name }: Named): string {
  return `${namespace || 'default'}/${name}`;
}

/** The part of an address that names it. */
export function pathOf({ namespace, name }: Named): string {
  return `${encodeURIComponent(namespace || 'default')}/${encodeURIComponent(name)}`;
}
