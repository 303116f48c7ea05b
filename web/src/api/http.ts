/** How the UI talks to the engine: JSON over `/api/v1`, problems as RFC 9457 has them. */

export const BASE = '/api/v1';

export interface ProblemField {
  /** JSON pointer into what was sent, such as `/spec/address`. */
  pointer?: string;
  detail: string;
  file?: string;
  line?: number;
  column?: number;
}

export interface ProblemBody {
  type?: string;
  title?: string;
  status: number;
  detail?: string;
  instance?: string;
  errors?: ProblemField[];
  /** With 409: what is different now. With 422 to a dry run: what it would become. */
  diff?: string;
}

/** The engine answered, and said no; or it did not answer at all (status 0). */
export class Refused extends Error {
  readonly problem: ProblemBody;
  /** Seconds after which to try again, if it was said. */
  readonly retryAfter: number | undefined;

  constructor(problem: ProblemBody, retryAfter?: number) {
    super(problem.detail || problem.title || `HTTP ${problem.status}`);
    this.name = 'Refused';
    this.problem = problem;
    this.retryAfter = retryAfter;
  }

  get status(): number {
    return this.problem.status;
  }
}

export type QueryValue = string | number | boolean | undefined | null | readonly string[];
export type Query = Readonly<Record<string, QueryValue>>;

/** These are given once for each value, since a value may have commas in it; of all else lists are joined by commas. */
const REPEATED: ReadonlySet<string> = new Set(['series']);

/** Path and query; what is empty is left out. */
export function address(path: string, query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined || value === null || value === '' || value === false) continue;
    if (Array.isArray(value) && REPEATED.has(key)) {
      for (const one of value) parameters.append(key, one);
      continue;
    }
    const text = Array.isArray(value) ? value.join(',') : String(value);
    if (text !== '') parameters.set(key, text);
  }
  const asked = parameters.toString();
  return BASE + path + (asked ? `?${asked}` : '');
}

let csrf: string | undefined;
const lost = new Set<() => void>();

/** The session's CSRF token; every request that changes something carries it. */
export function setCsrf(token: string | undefined): void {
  csrf = token;
}

/** Is called when the engine says that nobody is signed in any more. */
export function onSessionLost(told: () => void): () => void {
  lost.add(told);
  return () => lost.delete(told);
}

export interface Sent {
  /** JSON body. */
  body?: unknown;
  query?: Query;
  signal?: AbortSignal;
  /** Fails with 412 if the object is not this one any more. */
  ifMatch?: string;
  /** The same key with the same body is carried out once. */
  idempotencyKey?: string;
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** Sends a request and gives back the answer, or throws [`Refused`]. */
export async function request(method: Method, path: string, sent: Sent = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json, application/problem+json' };
  if (sent.body !== undefined) headers['Content-Type'] = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
  if (method !== 'GET' && csrf) headers['X-CSRF-Token'] = csrf;
  if (sent.ifMatch) headers['If-Match'] = sent.ifMatch;
  if (sent.idempotencyKey) headers['Idempotency-Key'] = sent.idempotencyKey;
  const init: RequestInit = { method, headers, credentials: 'same-origin', redirect: 'error' };
  if (sent.body !== undefined) init.body = JSON.stringify(sent.body);
  if (sent.signal) init.signal = sent.signal;
  let response: Response;
  try {
    response = await fetch(address(path, sent.query), init);
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new Refused({ status: 0, title: 'no answer' });
  }
  if (response.ok) return response;
  if (response.status === 401 && path !== '/session') for (const told of lost) told();
  throw await refused(response);
}

async function refused(response: Response): Promise<Refused> {
  const retry = Number(response.headers.get('Retry-After'));
  const body: unknown = await response.json().catch(() => null);
  const problem = body && typeof body === 'object' ? (body as Partial<ProblemBody>) : {};
  return new Refused({ title: response.statusText, ...problem, status: response.status }, retry > 0 ? retry : undefined);
}

/** Sends and reads the JSON of the answer; `undefined` where there is none. */
export async function call<T>(method: Method, path: string, sent: Sent = {}): Promise<T> {
  const response = await request(method, path, sent);
  if (response.status === 204 || response.headers.get('Content-Length') === '0') return undefined as T;
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

export function get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
  return call<T>('GET', path, { ...(query && { query }), ...(signal && { signal }) });
}

/** A key for one deed: made when its form opens, so that a second click is the same deed. */
export function deedKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
