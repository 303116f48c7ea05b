import { CaretRightOutlined } from '@ant-design/icons';
import { useVirtualizer } from '@tanstack/react-virtual';
import { Skeleton } from 'antd';
import { type KeyboardEvent, type ReactNode, useEffect, useRef, useState } from 'react';
import { Name } from '@/components';
import { useText } from '@/i18n/language';
import { parseName, shownName } from '@/lib/name';
import { clock } from '@/lib/time';
import { Said } from '../text/Said';
import { visibleText } from '../text/visible';
import { Detail } from './Detail';
import type { Filters } from './filters';
import css from './logs.module.css';
import { graveness, type LogLine, severityOf } from './model';
import texts from './text';

type Props = {
  lines: LogLine[];
  wrap: boolean;
  isWaiting?: boolean;
  onSet: (next: Partial<Filters>) => void;
  /** The end of what was read is in sight. */
  onEnd?: () => void;
  /** The reader is at the top, or has left it. */
  onTop?: (isAtTop: boolean) => void;
  foot?: ReactNode;
};

/** Letters of a message that a closed row has; what is beyond is not seen on any screen. */
const CLOSED = 600;

/** Lines, the newest first, of which only those in sight are drawn. */
export function Rows({ lines, wrap, isWaiting = false, onSet, onEnd, onTop, foot }: Props) {
  const t = useText(texts);
  const scroller = useRef<HTMLDivElement>(null);
  const [opened, setOpened] = useState<ReadonlySet<number>>(new Set());
  const [focused, setFocused] = useState<number>();
  const rows = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 26,
    overscan: 12,
    getItemKey: (at) => lines[at]?.number ?? at,
  });
  const items = rows.getVirtualItems();
  const last = items[items.length - 1]?.index ?? 0;
  useEffect(() => {
    if (lines.length > 0 && last >= lines.length - 20) onEnd?.();
  }, [last, lines.length, onEnd]);

  const toggle = (number: number): void => {
    const next = new Set(opened);
    if (!next.delete(number)) next.add(number);
    setOpened(next);
  };
  const onKey = (event: KeyboardEvent<HTMLOListElement>): void => {
    if (!(event.target instanceof HTMLElement) || event.target.dataset.row === undefined) return;
    const at = lines.findIndex((line) => line.number === focused);
    const to = { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, Home: 0, End: lines.length - 1, PageDown: at + 20, PageUp: at - 20 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = Math.min(lines.length - 1, Math.max(0, to));
    setFocused(lines[next]?.number);
    rows.scrollToIndex(next);
    requestAnimationFrame(() => scroller.current?.querySelector<HTMLElement>(`[data-row="${lines[next]?.number}"]`)?.focus());
  };
  const reachable = lines.some((line) => line.number === focused) ? focused : lines[0]?.number;

  if (isWaiting) return <div className={css.skeleton}><Skeleton active title={false} paragraph={{ rows: 10 }} /></div>;
  return (
    <div ref={scroller} className={css.scroller} onScroll={(event) => onTop?.(event.currentTarget.scrollTop < 8)}>
      <ol className={css.space} style={{ height: rows.getTotalSize() }} aria-label={t('lines')} onKeyDown={onKey}>
        {items.map((item) => {
          const line = lines[item.index];
          if (!line) return null;
          return (
            <li key={item.key} ref={rows.measureElement} data-index={item.index} className={css.row} style={{ transform: `translateY(${item.start}px)` }}>
              <Closed
                line={line}
                wrap={wrap}
                isOpen={opened.has(line.number)}
                tabIndex={line.number === reachable ? 0 : -1}
                onFocus={() => setFocused(line.number)}
                onToggle={() => toggle(line.number)}
              />
              {opened.has(line.number) && <Detail line={line} onSet={onSet} />}
            </li>
          );
        })}
      </ol>
      {foot && <div className={css.foot}>{foot}</div>}
    </div>
  );
}

type ClosedProps = { line: LogLine; wrap: boolean; isOpen: boolean; tabIndex: number; onFocus: () => void; onToggle: () => void };

function Closed({ line, wrap, isOpen, tabIndex, onFocus, onToggle }: ClosedProps) {
  const t = useText(texts);
  const severity = severityOf(line.severity);
  const grave = graveness(line.severity);
  const device = line.device ? shownName(parseName(line.device)) : t('unknownSender');
  const text = line.text.length > CLOSED && !isOpen ? `${line.text.slice(0, CLOSED)}…` : line.text;
  const at = clock(line.received);
  return (
    // The whole row opens by the pointer; for keys and readers there is a button in it, since the device is a link of its own.
    // biome-ignore lint/a11y/useKeyWithClickEvents: the button takes the keys
    // biome-ignore lint/a11y/noStaticElementInteractions: the same
    <div
      className={`${css.line} ${css[grave]} ${isOpen ? css.open : ''}`}
      onClick={(event) => {
        // Whoever marks a part of the text does not want it to jump.
        const isOther = event.target instanceof Element && event.target.closest('a, button') !== null;
        if (!isOther && (window.getSelection()?.toString() ?? '') === '') onToggle();
      }}
    >
      <button
        type="button"
        data-row={line.number}
        tabIndex={tabIndex}
        aria-expanded={isOpen}
        aria-label={t('row', { time: at, severity: t(severity), device, text: visibleText(text.slice(0, 200)) })}
        className={css.opener}
        onFocus={onFocus}
        onClick={onToggle}
      >
        <CaretRightOutlined aria-hidden="true" className={isOpen ? css.caretOpen : css.caret} />
      </button>
      <span className={css.time} title={`${at} · ${new Date(line.received).toISOString()}`}>
        {at.slice(5)}
      </span>
      <span className={css.grave}>{t(severity)}</span>
      <span className={css.from}>{line.device ? <Name kind="Device" of={line.device} /> : <i><Said text={line.address || device} /></i>}</span>
      <span className={css.prog}><Said text={line.program ?? ''} /></span>
      <span className={wrap || isOpen ? css.wrapped : css.message}><Said text={text} lines={isOpen} /></span>
    </div>
  );
}
