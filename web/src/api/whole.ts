/** An object whose file is wrong has no `spec`, only a `status` that says so: pages read an empty one, and show that. */
export function whole<T>(answer: T): T {
  if (typeof answer !== 'object' || answer === null) return answer;
  if ('items' in answer && Array.isArray(answer.items)) return { ...answer, items: answer.items.map(whole) };
  return 'kind' in answer && 'metadata' in answer && !('spec' in answer && answer.spec) ? { ...answer, spec: {} } : answer;
}
