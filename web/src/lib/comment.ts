/** Bytes of UTF-8 that the engine takes of what somebody says to what they do: it stands in the audit log. */
export const COMMENT = 500;

export type CommentFault = 'commentLong' | 'commentLines';

export function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** Why the engine would not take it, if so. A letter may be several bytes: a Chinese one is three. */
export function commentFault(comment: string): CommentFault | undefined {
  if (/\p{Cc}/u.test(comment)) return 'commentLines';
  return bytesOf(comment) > COMMENT ? 'commentLong' : undefined;
}
