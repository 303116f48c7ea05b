/** Manifests as text: what is edited, and where in it a place of the object is. */
import { isAlias, isMap, isNode, isPair, isSeq, LineCounter, parseDocument, stringify } from 'yaml';

/** Characters of a manifest: what the engine takes at most in one request. */
export const LONGEST = 1_048_576;
/** Places to which anchors of YAML may be spread: a few lines could become gigabytes. */
const ALIASES = 50;

export interface Finding {
  detail: string;
  severity: 'error' | 'warning' | 'note';
  pointer?: string;
  /** Line of the text, from 1. */
  line?: number;
}

export interface Parsed {
  value?: Record<string, unknown>;
  findings: Finding[];
}

/** What only the engine writes, and nobody edits. */
const NOT_WRITTEN = new Set(['status', 'origin', 'uses', 'effective', 'name', 'lastChange']);

/** An object as the text that is edited. */
export function toYaml(object: object): string {
  const written = Object.fromEntries(Object.entries(object).filter(([key, value]) => !NOT_WRITTEN.has(key) && value !== undefined));
  return stringify(written, { lineWidth: 120, indent: 2 });
}

/** Reads the text: exactly one object. Only its shape as YAML is looked at here; the rest is the engine's to say. */
export function fromYaml(text: string): Parsed {
  if (text.length > LONGEST) return { findings: [{ severity: 'error', detail: `longer than ${LONGEST} characters` }] };
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true, merge: false, version: '1.2' });
  const findings = document.errors.map((error): Finding => ({ severity: 'error', detail: error.message, line: lines.linePos(error.pos[0]).line }));
  if (findings.length > 0) return { findings };
  try {
    const value: unknown = document.toJS({ maxAliasCount: ALIASES });
    if (value === null || typeof value !== 'object' || Array.isArray(value)) {
      return { findings: [{ severity: 'error', detail: 'this is no object', line: 1 }] };
    }
    return { value: value as Record<string, unknown>, findings };
  } catch (error) {
    return { findings: [{ severity: 'error', detail: error instanceof Error ? error.message : String(error), line: 1 }] };
  }
}

/** The parts of a JSON pointer (`/spec/parents/0`) or of a path (`spec.parents[0]`). */
export function partsOf(pointer: string): string[] {
  if (pointer.startsWith('/')) return pointer.slice(1).split('/').map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  return [...pointer.matchAll(/[^.[\]"]+/g)].map(([part]) => part);
}

/** The line on which a place of the object stands; of one that is missing, the line of what it is missing in. */
export function lineOf(text: string, pointer: string): number | undefined {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  let node: unknown = document.contents;
  let line: number | undefined;
  for (const part of partsOf(pointer)) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && String(isNode(item.key) ? item.key.toJS(document) : item.key) === part);
      if (!pair) break;
      const at = isNode(pair.key) ? pair.key.range?.[0] : undefined;
      if (at !== undefined) line = lines.linePos(at).line;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(part)];
      const at = isNode(node) ? node.range?.[0] : undefined;
      if (at === undefined) break;
      line = lines.linePos(at).line;
    } else break;
  }
  return line;
}

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);

/** A finding of the engine's, in whichever of its forms, with its line in the text that is edited. */
export function readFinding(found: unknown, edited: string): Finding {
  if (typeof found === 'string') return { severity: found.startsWith('warning') ? 'warning' : found.startsWith('note') ? 'note' : 'error', detail: found };
  const fields = (found ?? {}) as Record<string, unknown>;
  const message = text(fields.detail) ?? text(fields.message) ?? JSON.stringify(found);
  const help = text(fields.help);
  const severity = fields.severity === 'warning' || fields.severity === 'note' ? fields.severity : 'error';
  const finding: Finding = { severity, detail: help ? `${message}; ${help}` : message };
  const pointer = text(fields.pointer) ?? text(fields.path);
  if (pointer) {
    finding.pointer = pointer;
    // The line that the engine names is one of its file, where other objects may stand before this one.
    const line = lineOf(edited, pointer);
    if (line !== undefined) finding.line = line;
  }
  return finding;
}
