// What varies in a line: its template's text, in which masks such as <num> and <*> stand, laid over the line.

/** A part of a line. */
export type Part = { text: string; varies: boolean };

/** A mask, as the miner writes it. */
const MASK = /<(?:\*|str|path|url|ip|mac|uuid|hex|id|num)>/g;

/** The template's own parts: its words, and its masks. */
export function templateParts(template: string): Part[] {
  const parts: Part[] = [];
  let from = 0;
  for (const mask of template.matchAll(MASK)) {
    if (mask.index > from) parts.push({ text: template.slice(from, mask.index), varies: false });
    parts.push({ text: mask[0], varies: true });
    from = mask.index + mask[0].length;
  }
  if (from < template.length) parts.push({ text: template.slice(from), varies: false });
  return parts;
}

/**
 * A line with what varies in it marked; several spaces are as one. A line that does not fit its template (it was cleaned, cut, or the
 * template grew since) is given as it is. What stands between two masks is looked for where it comes first, so that no line costs more than
 * its own length times that of the template.
 */
export function mark(template: string, line: string): Part[] {
  const text = line.trim().replace(/\s+/g, ' ');
  const wanted = templateParts(template.trim().replace(/\s+/g, ' '));
  const parts: Part[] = [];
  let at = 0;
  let open = false; // a mask has begun at `at`, and its end is not known yet
  for (const [number, part] of wanted.entries()) {
    if (part.varies) {
      open = true;
      continue;
    }
    const isLast = number === wanted.length - 1;
    const found = isLast && open ? text.length - part.text.length : text.indexOf(part.text, at);
    if (found < at || !text.startsWith(part.text, found) || (!open && found > at)) return [{ text: line, varies: false }];
    if (found > at) parts.push({ text: text.slice(at, found), varies: true });
    parts.push(part);
    at = found + part.text.length;
    open = false;
  }
  if (open && at < text.length) parts.push({ text: text.slice(at), varies: true });
  return open || at === text.length ? parts : [{ text: line, varies: false }];
}
