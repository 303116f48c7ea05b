// Lines that come by themselves: a bounded list of them, and what waits while the reader looks at older ones.

import type { LogLine } from './model';

/** Lines that are kept and can be scrolled through. */
export const KEPT = 2000;

/** The state of a tail. */
export type Tail = {
  /** The newest first. */
  lines: LogLine[];
  /** Came while it was held, the newest first. */
  waiting: LogLine[];
  /** The reader holds it. */
  held: boolean;
  /** Lines that were left out, because too many came: by the server, or here. */
  leftOut: number;
};

/** What happens to it. */
export type Happening =
  | { what: 'came'; lines: LogLine[]; leftOut?: number } // the oldest first
  | { what: 'hold' }
  | { what: 'goOn' }
  | { what: 'clear' };

/** Nothing yet. */
export const EMPTY: Tail = { lines: [], waiting: [], held: false, leftOut: 0 };

/** The next state. */
export function tail(state: Tail, happening: Happening): Tail {
  switch (happening.what) {
    case 'came': {
      const came = happening.lines.slice(-KEPT).reverse();
      const early = happening.lines.length - came.length + (happening.leftOut ?? 0);
      if (!state.held) return { ...state, lines: join(came, state.lines).lines, leftOut: state.leftOut + early };
      // Older lines than these are seen no more anyway once it goes on: what is lost are lines that nobody has seen.
      const { lines, lost } = join(came, state.waiting);
      return { ...state, waiting: lines, leftOut: state.leftOut + early + lost };
    }
    case 'hold':
      return { ...state, held: true };
    case 'goOn':
      return { ...state, held: false, lines: join(state.waiting, state.lines).lines, waiting: [] };
    case 'clear':
      return { ...EMPTY, held: state.held };
  }
}

/**
 * Of stored lines (the newest first) those after the last that was shown, the oldest first. It is whole if none can be missing between: else
 * what was shown before must not stand beside them as if it were.
 */
export function missedOf(read: { items: LogLine[]; cursor?: string | null } | undefined, last: LogLine | undefined): { lines: LogLine[]; isWhole: boolean } {
  if (!read) return { lines: [], isWhole: false };
  const lines = read.items.filter(({ number }) => last === undefined || number > last.number);
  return { lines: lines.reverse(), isWhole: lines.length < read.items.length || !read.cursor };
}

/** Lines of both, each once, the oldest first. */
export function merged(some: LogLine[], others: LogLine[]): LogLine[] {
  const lines = new Map([...some, ...others].map((line) => [line.number, line]));
  return [...lines.values()].sort((a, b) => a.number - b.number);
}

function join(newer: LogLine[], older: LogLine[]): { lines: LogLine[]; lost: number } {
  const lines = newer.concat(older);
  const lost = Math.max(0, lines.length - KEPT);
  return { lines: lost > 0 ? lines.slice(0, KEPT) : lines, lost };
}
