// The first page (frame, overview and all that they need at once) stays below its limit, and refers to nothing elsewhere.
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const LIMIT = 400 * 1024;
const dist = new URL('./dist/', import.meta.url);
const manifest = JSON.parse(readFileSync(new URL('.vite/manifest.json', dist), 'utf8'));

function needs(key, found = new Set()) {
  const chunk = manifest[key];
  if (!chunk || found.has(chunk.file)) return found;
  found.add(chunk.file);
  for (const css of chunk.css ?? []) found.add(css);
  for (const further of chunk.imports ?? []) needs(further, found);
  return found;
}

const size = (files) => [...files].reduce((sum, file) => sum + gzipSync(readFileSync(new URL(file, dist))).length, 0);
const kilobytes = (bytes) => `${(bytes / 1024).toFixed(1)} KB`;
const frame = needs('index.html');
const first = needs('src/pages/overview/index.tsx', new Set(frame));
for (const [key, { isDynamicEntry }] of Object.entries(manifest)) {
  if (!isDynamicEntry) continue;
  const own = [...needs(key)].filter((file) => !frame.has(file));
  console.log(`${kilobytes(size(own)).padStart(10)}  ${key}`);
}
console.log(`${kilobytes(size(frame)).padStart(10)}  the frame`);
console.log(`${kilobytes(size(first)).padStart(10)}  the first page, gzip (limit ${kilobytes(LIMIT)})`);

const page = readFileSync(new URL('index.html', dist), 'utf8');
const problems = [];
if (size(first) > LIMIT) problems.push('the first page is too large');
if (/<script(?![^>]*\ssrc=)/.test(page)) problems.push('index.html has an inline script');
if (/<style|\sstyle=|\son\w+=/.test(page)) problems.push('index.html has inline styles or handlers');
for (const css of readdirSync(new URL('assets/', dist)).filter((name) => name.endsWith('.css'))) {
  if (/url\(\s*['"]?(?:https?:|\/\/|data:)/.test(readFileSync(new URL(`assets/${css}`, dist), 'utf8'))) problems.push(`${css} refers to another host, or has data: in it`);
}
for (const problem of problems) console.error(`size: ${problem}`);
process.exit(problems.length ? 1 : 0);
