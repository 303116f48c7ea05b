/** A text area with line numbers, and marks on lines of which something is said. */
import { type KeyboardEvent, type Ref, useImperativeHandle, useRef } from 'react';
import type { Finding } from './yaml';
import './editor.css';

export interface CodeAreaHandle {
  goTo: (line: number) => void;
}

interface Props {
  value: string;
  onChange: (value: string) => void;
  findings?: Finding[];
  label: string;
  rows?: number;
  readOnly?: boolean;
  /** Ctrl+Enter. */
  onCommit?: () => void;
  ref?: Ref<CodeAreaHandle>;
}

/** Pixels of one line; the same in editor.css. */
const LINE = 20;

export function CodeArea({ value, onChange, findings = [], label, rows = 22, readOnly = false, onCommit, ref }: Props) {
  const area = useRef<HTMLTextAreaElement>(null);
  const behind = useRef<HTMLDivElement>(null);
  useImperativeHandle(ref, () => ({
    goTo: (line) => {
      const element = area.current;
      if (!element) return;
      const start = value.split('\n').slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
      element.focus();
      element.setSelectionRange(start, start + (value.split('\n')[line - 1]?.length ?? 0));
      element.scrollTop = Math.max(0, (line - 5) * LINE);
    },
  }));
  const worst = new Map<number, Finding['severity']>();
  for (const { line, severity } of findings) {
    if (line !== undefined && (severity === 'error' || !worst.has(line))) worst.set(line, severity);
  }
  const count = value.split('\n').length;
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (event.key !== 'Enter' || event.nativeEvent.isComposing) return;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      onCommit?.();
      return;
    }
    if (event.shiftKey || readOnly) return;
    // The next line begins below this one; Tab is left to whoever goes through the page by keyboard.
    const { selectionStart, selectionEnd } = event.currentTarget;
    const before = value.slice(0, selectionStart);
    const line = before.slice(before.lastIndexOf('\n') + 1);
    const indent = /^\s*(?:- )?/.exec(line)?.[0].replace('-', ' ') ?? '';
    const more = line.trimEnd().endsWith(':') ? '  ' : '';
    if (indent + more === '') return;
    event.preventDefault();
    event.currentTarget.setRangeText(`\n${indent}${more}`, selectionStart, selectionEnd, 'end');
    onChange(event.currentTarget.value);
  };
  return (
    <div className="code-area" style={{ height: rows * LINE + 18 }}>
      <div className="code-behind" ref={behind} aria-hidden>
        {Array.from({ length: count }, (_, index) => (
          <div key={index} className={`code-line ${worst.has(index + 1) ? `code-line-${worst.get(index + 1)}` : ''}`}>
            {index + 1}
          </div>
        ))}
      </div>
      <textarea
        ref={area}
        aria-label={label}
        aria-keyshortcuts="Control+Enter"
        value={value}
        readOnly={readOnly}
        spellCheck={false}
        autoCapitalize="off"
        autoComplete="off"
        wrap="off"
        onChange={(event) => onChange(event.target.value)}
        onKeyDown={onKeyDown}
        onScroll={(event) => {
          if (behind.current) behind.current.scrollTop = event.currentTarget.scrollTop;
        }}
      />
    </div>
  );
}
