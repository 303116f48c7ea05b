// What somebody may write into a log, a label, an alert or a commit in the hope that a browser runs it or a reader is misled. Used by tests
// and by the fixtures of the mock server, in every field that takes text.

/** Set by a payload that was run; nothing may ever set it. */
export const MARK = '__evenkeel_ran';

const run = `window.${MARK}=1`;

/** A text and what it tries. */
export type Payload = { name: string; text: string };

/** All of them. */
export const PAYLOADS: Payload[] = [
  { name: 'script', text: `<script>${run}</script>` },
  { name: 'script, closing first', text: `"'></textarea></style></title><script>${run}</script>` },
  { name: 'image with a handler', text: `<img src=x onerror="${run}">` },
  { name: 'svg with a handler', text: `<svg/onload=${run}>` },
  { name: 'details that open', text: `<details open ontoggle=${run}>` },
  { name: 'attribute that is left', text: `" autofocus onfocus="${run}` },
  { name: 'frame', text: `<iframe srcdoc="<script>parent.${MARK}=1</script>"></iframe>` },
  { name: 'style', text: `<style>@import 'javascript:${run}';</style>` },
  { name: 'link', text: `javascript:${run}` },
  { name: 'link with a tab', text: `java\tscript:${run}` },
  { name: 'link as data', text: `data:text/html,<script>${run}</script>` },
  { name: 'entity', text: `&lt;script&gt;${run}&lt;/script&gt;` },
  { name: 'template', text: `{{constructor.constructor('${run}')()}}` },
  { name: 'template string', text: `\${${run}}` },
  { name: 'markdown', text: `[click](javascript:${run})` },
  { name: 'noscript and namespaces', text: `<math><mtext></form><form><mglyph><style></math><img src onerror=${run}>` },
  { name: 'prototype', text: '{"__proto__":{"polluted":true}}' },
  { name: 'turned around', text: 'invoice\u202egpj.exe' },
  { name: 'isolates', text: '\u2067admin\u2069 \u2066 is not an admin\u2069' },
  { name: 'terminal', text: '\u001b]0;owned\u0007\u001b[2J\u001b[31mred\u001b[0m' },
  { name: 'terminal, eight bits', text: '\u009b31mred\u009b0m' },
  { name: 'zero', text: 'before\u0000after' },
  { name: 'lines that are none', text: 'accepted\r\nNov 26 00:00:00 web-01 sshd: Accepted password for root\u2028\u2029' },
  { name: 'unseen letters', text: 'ro\u200bot\ufeff\u{e0061}\u{e0064}' },
  { name: 'half a pair', text: 'x\ud83d' },
  { name: 'marks on marks', text: `Z${'\u0351\u0489\u0334'.repeat(60)}` },
  { name: 'a very long word', text: 'A'.repeat(4000) },
  { name: 'a very long link', text: `https://example.com/${'a'.repeat(2000)}` },
];
