/** Label selectors as Kubernetes writes them: `a=b,c!=d,e in (x,y),f,!g`. Read here only to say early what is wrong with one. */

export type Requirement =
  | { key: string; is: '=' | '!='; value: string }
  | { key: string; is: 'in' | 'notin'; values: string[] }
  | { key: string; is: 'there' | 'missing' };

export type Parsed = { requirements: Requirement[] } | { problem: 'key' | 'value' | 'parentheses'; at: string };

const KEY = /^([a-z0-9A-Z]([-a-z0-9A-Z.]*[a-z0-9A-Z])?\/)?[a-zA-Z0-9]([-\w.]{0,61}[a-zA-Z0-9])?$/;
const VALUE = /^([a-zA-Z0-9]([-\w.]{0,61}[a-zA-Z0-9])?)?$/;

/** Cuts at commas that are not in parentheses. */
function parts(text: string): string[] | undefined {
  const found: string[] = [];
  let depth = 0;
  let from = 0;
  for (let index = 0; index < text.length; index++) {
    const letter = text[index];
    if (letter === '(') depth++;
    else if (letter === ')') depth--;
    else if (letter === ',' && depth === 0) {
      found.push(text.slice(from, index));
      from = index + 1;
    }
    if (depth < 0 || depth > 1) return undefined;
  }
  if (depth !== 0) return undefined;
  found.push(text.slice(from));
  return found.map((part) => part.trim()).filter((part) => part !== '');
}

function requirement(part: string): Requirement | 'key' | 'value' {
  const among = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/.exec(part);
  if (among) {
    const [, key = '', is, listed = ''] = among;
    const values = listed.split(',').map((value) => value.trim());
    if (!KEY.test(key)) return 'key';
    return values.every((value) => VALUE.test(value)) ? { key, is: is as 'in' | 'notin', values } : 'value';
  }
  const compared = /^([^=!]+?)\s*(!=|==|=)\s*(.*)$/.exec(part);
  if (compared) {
    const [, key = '', is, value = ''] = compared;
    if (!KEY.test(key)) return 'key';
    return VALUE.test(value) ? { key, is: is === '!=' ? '!=' : '=', value } : 'value';
  }
  const missing = part.startsWith('!');
  const key = missing ? part.slice(1).trim() : part;
  return KEY.test(key) ? { key, is: missing ? 'missing' : 'there' } : 'key';
}

export function parseSelector(text: string): Parsed {
  const found = parts(text);
  if (!found) return { problem: 'parentheses', at: text };
  const requirements: Requirement[] = [];
  for (const part of found) {
    const read = requirement(part);
    if (typeof read === 'string') return { problem: read, at: part };
    requirements.push(read);
  }
  return { requirements };
}

/** The selector of these labels: `site=ams1,role=web`. */
export function selectorOf(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels).map(([key, value]) => `${key}=${value}`).join(',');
}
