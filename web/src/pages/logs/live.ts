import { useEffect, useReducer, useState } from 'react';
import { address, get, type Query } from '@/api/http';
import type { List } from '@/api/types';
import { whileSeen } from '@/lib/seen';
import { asked, type Filters } from './filters';
import type { LogLine } from './model';
import { EMPTY, type Happening, merged, missedOf, type Tail, tail } from './tail';

/** Milliseconds over which lines are gathered before they are drawn: a flood would otherwise draw with each line. */
const GATHER = 250;
/** Lines that are gathered; of more, the newest are drawn and the rest is counted. */
const MOST = 5000;
/** Milliseconds until a connection that the browser gave up is tried again. */
const AGAIN = 5_000;
/** Lines that are fetched of those that came while nobody looked. */
const MISSED = 1000;

/** How it stands with the connection. */
export type Connection = 'connecting' | 'live' | 'lost';

/** Lines as they come. Another question begins anew. */
export function useTail(filters: Filters): { state: Tail; connection: Connection; tell: (happening: Happening) => void } {
  const [state, tell] = useReducer(tail, EMPTY);
  const [connection, setConnection] = useState<Connection>('connecting');
  const question = JSON.stringify(asked(filters));
  useEffect(() => {
    let gathered: LogLine[] = [];
    let leftOut = 0;
    let again: number | undefined;
    let source: EventSource | undefined;
    // The newest line that was shown, and since when there may be others.
    let last: LogLine | undefined;
    const begun = new Date().toISOString();
    // The newest line that was fetched since the connection is there: up to it they may come once more.
    let fetched = -1;
    let wasOpen = false;
    let isCatchingUp = false;
    const query = JSON.parse(question) as Query;
    tell({ what: 'clear' });
    const ending = new AbortController();
    // A tail goes on from now: what came while it was closed is among the stored lines.
    const catchUp = async (): Promise<void> => {
      isCatchingUp = true;
      const read = get<List<LogLine>>('/logs', { ...query, since: last?.received ?? begun, limit: MISSED }, ending.signal);
      const { lines, isWhole } = missedOf(await read.catch(() => undefined), last);
      if (ending.signal.aborted) return;
      if (!isWhole) tell({ what: 'clear' });
      gathered = merged(lines, gathered);
      fetched = lines.at(-1)?.number ?? -1;
      isCatchingUp = false;
    };
    const connect = (): void => {
      source = new EventSource(address('/logs/tail', query));
      source.onopen = () => {
        setConnection('live');
        fetched = -1;
        if (wasOpen) void catchUp();
        wasOpen = true;
      };
      source.onerror = () => {
        setConnection('lost');
        // A connection that merely broke is taken up again by the browser itself.
        if (source?.readyState === EventSource.CLOSED) again = window.setTimeout(connect, AGAIN);
      };
      source.addEventListener('line', (event: MessageEvent<string>) => {
        const line = parse(event.data);
        if (!line || line.number <= fetched) return;
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
      if (isCatchingUp || (gathered.length === 0 && leftOut === 0)) return;
      last = gathered.at(-1) ?? last;
      tell({ what: 'came', lines: gathered, leftOut });
      gathered = [];
      leftOut = 0;
    }, GATHER);
    const stop = whileSeen(() => {
      connect();
      return () => {
        source?.close();
        window.clearTimeout(again);
        setConnection('connecting');
      };
    });
    return () => {
      stop();
      ending.abort();
      window.clearInterval(timer);
    };
  }, [question]);
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
