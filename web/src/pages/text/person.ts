/** The name of `Ada Lovelace <ada@example.com>`; the whole of what has no such form. */
export function personOf(author: string): string {
  const name = /^(.*\S)\s*<[^<>]*>$/.exec(author)?.[1];
  return name ?? author;
}
