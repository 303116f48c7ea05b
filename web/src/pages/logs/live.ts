import { useEffect, useReducer, useState } from 'react';
import { address } from '@/api/http';
import { asked, type Filters } from './filters';
import type { LogLine } from './model';
import { EMPTY, type Happening, type Tail, tail } from './tail';

/** Milliseconds over which lines are gathered before they are drawn: a flood would otherwise draw with each line. */
const GATHER = 250;
/** Lines that are gathered; of more, the newest are drawn and the rest is counted. */
const MOST = 5000;
/** Milliseconds until a connection that the browser gave up is tried again. */
const AGAIN = 5_000;

/** How it stands with the connection. */
export type Connection = 'connecting' | 'live' | 'lost';

/** Lines as they come. Another question begins anew. */
export function useTail(filters: Filters): { state: Tail; connection: Connection; tell: (happening: Happening) => void } {
  const [state, tell] = useReducer(tail, EMPTY);
  const [connection, setConnection] = useState<Connection>('connecting');
  const path = address('/logs/tail', asked(filters));
  useEffect(() => {
    let gathered: LogLine[] = [];
    let leftOut = 0;
    let again: number | undefined;
    let source: EventSource | undefined;
    tell({ what: 'clear' });
    const connect = (): void => {
      source = new EventSource(path);
      source.onopen = () => setConnection('live');
      source.onerror = () => {
        setConnection('lost');
        // A connection that merely broke is taken up again by the browser itself.
        if (source?.readyState === EventSource.CLOSED) again = window.setTimeout(connect, AGAIN);
      };
      source.addEventListener('line', (event: MessageEvent<string>) => {
        const line = parse(event.data);
        if (!line) return;
        if (gathered.length >= MOST) leftOut += 1;
        gathered.push(line);
        if (gathered.length > MOST) gathered.shift();
      });
      // The server says how many it left out because this reader was too slow.
      source.addEventListener('leftOut', (event: MessageEvent<string>) => {
        leftOut += leftIn(event.data);
      });
    };
    const timer = window.setInterval(() => {
      if (gathered.length === 0 && leftOut === 0) return;
      tell({ what: 'came', lines: gathered, leftOut });
      gathered = [];
      leftOut = 0;
    }, GATHER);
    connect();
    return () => {
      source?.close();
      window.clearInterval(timer);
      window.clearTimeout(again);
    };
  }, [path]);
  return { state, connection, tell };
}

function parse(data: string): LogLine | undefined {
  try {
    const line: unknown = JSON.parse(data);
    return typeof line === 'object' && line !== null && 'number' in line && 'text' in line ? (line as LogLine) : undefined;
  } catch {
    return undefined;
  }
}

function leftIn(data: string): number {
  try {
    const said: unknown = JSON.parse(data);
    return typeof said === 'object' && said !== null && 'lines' in said && typeof said.lines === 'number' ? said.lines : 0;
  } catch {
    return 0;
  }
}
