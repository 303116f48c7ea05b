/** Differences between texts, line by line, and the reading of unified diffs. */

export interface DiffLine {
  kind: 'same' | 'added' | 'removed' | 'head';
  text: string;
  /** Line numbers in the old and in the new text. */
  old?: number;
  new?: number;
}

/** Lines that are compared one with another at most: the table grows with the product. What is longer is told as removed and added. */
const MOST = 2000;
/** Unchanged lines that are shown around a change. */
const CONTEXT = 3;

const linesOf = (text: string): string[] => {
  if (text === '') return [];
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
};

/** All lines of both texts, by the longest common subsequence. */
export function diffLines(from: string, to: string): DiffLine[] {
  const [a, b] = [linesOf(from), linesOf(to)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const same = (index: number, shift = 0): DiffLine => ({ kind: 'same', text: a[index] ?? '', old: index + 1, new: index + shift + 1 });
  const head = Array.from({ length: start }, (_, index) => same(index));
  const tail = Array.from({ length: end }, (_, index) => same(a.length - end + index, b.length - a.length));
  return [...head, ...middle(a.slice(start, a.length - end), b.slice(start, b.length - end), start), ...tail];
}

function middle(a: string[], b: string[], start: number): DiffLine[] {
  const removed = (index: number): DiffLine => ({ kind: 'removed', text: a[index] ?? '', old: start + index + 1 });
  const added = (index: number): DiffLine => ({ kind: 'added', text: b[index] ?? '', new: start + index + 1 });
  if (a.length === 0 || b.length === 0 || a.length > MOST || b.length > MOST) return [...a.keys()].map(removed).concat([...b.keys()].map(added));
  const width = b.length + 1;
  const table = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      const [down, right] = [table[(i + 1) * width + j] ?? 0, table[i * width + j + 1] ?? 0];
      table[i * width + j] = a[i] === b[j] ? (table[(i + 1) * width + j + 1] ?? 0) + 1 : Math.max(down, right);
    }
  }
  const lines: DiffLine[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push({ kind: 'same', text: a[i] ?? '', old: start + i + 1, new: start + j + 1 });
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && (table[(i + 1) * width + j] ?? 0) >= (table[i * width + j + 1] ?? 0))) {
      lines.push(removed(i));
      i += 1;
    } else {
      lines.push(added(j));
      j += 1;
    }
  }
  return lines;
}

/** Only what changed, with a few lines around it; what is left out between is a line of its own. */
export function withContext(lines: DiffLine[]): DiffLine[] {
  const near = new Set<number>();
  lines.forEach((line, index) => {
    if (line.kind === 'same') return;
    for (let at = index - CONTEXT; at <= index + CONTEXT; at += 1) near.add(at);
  });
  const shown: DiffLine[] = [];
  let skipped = false;
  lines.forEach((line, index) => {
    if (!near.has(index)) {
      skipped = true;
      return;
    }
    if (skipped) shown.push({ kind: 'head', text: '⋯' });
    skipped = false;
    shown.push(line);
  });
  return shown;
}

/** Reads a unified diff; lines that belong to none (`diff --git`, `index`) are left out. */
export function readUnified(text: string): DiffLine[] {
  const lines: DiffLine[] = [];
  let [old, next] = [0, 0];
  let inHunk = false;
  for (const line of linesOf(text)) {
    const hunk = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)$/.exec(line);
    if (hunk) {
      [old, next, inHunk] = [Number(hunk[1]), Number(hunk[2]), true];
      lines.push({ kind: 'head', text: line });
    } else if (!inHunk || line.startsWith('diff ')) {
      inHunk = false;
      const file = /^(?:---|\+\+\+) (.*)$/.exec(line);
      if (file) lines.push({ kind: 'head', text: line });
    } else if (line.startsWith('+')) {
      lines.push({ kind: 'added', text: line.slice(1), new: next });
      next += 1;
    } else if (line.startsWith('-')) {
      lines.push({ kind: 'removed', text: line.slice(1), old });
      old += 1;
    } else if (!line.startsWith('\\')) {
      lines.push({ kind: 'same', text: line.slice(1), old, new: next });
      old += 1;
      next += 1;
    }
  }
  return lines;
}

export function countsOf(lines: DiffLine[]): { added: number; removed: number } {
  return {
    added: lines.filter((line) => line.kind === 'added').length,
    removed: lines.filter((line) => line.kind === 'removed').length,
  };
}
