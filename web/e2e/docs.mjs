// The page that shows the description, in a browser: a route is tried out as one is signed in, and with a token. It needs a live engine: the
// test `ui` runs it, with E2E_URL, E2E_USER, E2E_PASSWORD and E2E_TOKEN.
import { chromium } from 'playwright-core';

const { E2E_URL, E2E_USER, E2E_PASSWORD, E2E_TOKEN } = process.env;

function expect(fine, what) {
  if (!fine) throw new Error(what);
}

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
const page = await browser.newPage();
const hosts = new Set();
const faults = [];
page.on('request', (request) => hosts.add(new URL(request.url()).origin));
page.on('pageerror', (error) => faults.push(String(error)));
page.on('console', (message) => {
  if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) faults.push(message.text());
});

async function tried(route, fields) {
  const shown = page.locator('details').filter({ has: page.locator('summary', { hasText: route }) }).first();
  if (!(await shown.getAttribute('open').then((open) => open !== null))) await shown.locator('summary').click();
  for (const [name, value] of Object.entries(fields)) await shown.locator(`input[name=${name}]`).fill(value);
  await shown.locator('button').click();
  const answer = shown.locator('pre.answer');
  await page.waitForFunction((at) => at.textContent !== 'One moment.', await answer.elementHandle());
  return answer.textContent();
}

const signedIn = await page.request.post(`${E2E_URL}/api/v1/session`, { data: { user: E2E_USER, password: E2E_PASSWORD } });
expect(signedIn.ok(), `sign-in: ${signedIn.status()}`);
await page.goto(`${E2E_URL}/api/v1/docs`);
await page.waitForSelector('details');

const list = await tried(/^GET\/devices /, { limit: '1' });
expect(list.startsWith('200') && list.includes('"total"'), list);
// A change is the page's own: without what it repeats against other sites it would be a 403.
const pause = await tried(/^POST\/deployments\/\{namespace\}\/\{name\}\/pause/, { name: 'nobody' });
expect(pause.startsWith('404'), pause);
await page.fill('#token', E2E_TOKEN);
// A token makes no tokens: that it is refused so shows that it was sent.
const made = await tried(/^POST\/tokens /, {});
expect(made.startsWith('403') && made.includes("another token can't"), made);
await page.fill('#token', 'wrong');
const refused = await tried(/^GET\/devices /, { limit: '1' });
expect(refused.startsWith('401'), refused);

expect(hosts.size === 1, `it asks elsewhere: ${[...hosts]}`);
expect(faults.length === 0, faults.join('\n'));
console.log('the page tries routes out');
await browser.close();
