// A browser for tests: Debian's Chromium, which talks to nobody but the page's own host.
import { chromium } from 'playwright-core';

export const URL_OF_IT = process.env.E2E_URL ?? 'http://127.0.0.1:4200';
export const USER = process.env.E2E_USER ?? 'admin';
export const PASSWORD = process.env.E2E_PASSWORD ?? 'evenkeel';
/** An engine stands behind it, not the mock. */
export const IS_REAL = process.env.E2E_REAL === '1';
/** Milliseconds until what is waited for does not come any more. Nothing waits so long where all is well. */
const LIMIT = 60_000;
export const SHOTS = process.env.E2E_SHOTS ?? 'shots';

/** What a page has asked for and not got, but for the change feed and logs as they come. */
const asked = new WeakMap();
const NEVER_END = /\/api\/v1\/(events|logs\/tail)/;

const LAUNCH = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
};

/** One for many scripts: those that have its address in E2E_BROWSER take a window of it that knows nothing of the others. */
export const sharedBrowser = () => chromium.launchServer(LAUNCH);

/** A window of the shared one, or of one of its own; `close()` ends it. */
export async function browser() {
  const one = process.env.E2E_BROWSER ? await chromium.connect(process.env.E2E_BROWSER) : await chromium.launch(LAUNCH);
  const context = await one.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce', locale: 'en-GB' });
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT);
  page.setDefaultNavigationTimeout(LIMIT);
  const open = new Set();
  asked.set(page, open);
  page.on('request', (request) => {
    if (!NEVER_END.test(request.url())) open.add(request);
  });
  for (const ended of ['requestfinished', 'requestfailed']) page.on(ended, (request) => open.delete(request));
  const foreign = [];
  const faults = [];
  page.on('request', (request) => {
    if (new URL(request.url()).host !== new URL(URL_OF_IT).host && !request.url().startsWith('blob:')) foreign.push(request.url());
  });
  // A page must not ask for what does not exist, nor in a way that is not understood.
  page.on('response', (response) => {
    const { pathname, search } = new URL(response.url());
    if (pathname.startsWith('/api/') && ([400, 405, 406, 415].includes(response.status()) || response.status() >= 500)) faults.push(`${response.status()} ${response.request().method()} ${pathname}${search.slice(0, 200)}`);
  });
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => {
    // React's development build warns of antd's own way with refs; the built pages don't.
    if (message.type() === 'error' && !/status of (400|401|403|404|409|422|50\d)|element\.ref was removed in React 19/.test(message.text())) faults.push(message.text());
  });
  const close = async () => {
    await context.close();
    await one.close();
  };
  return { context, page, foreign, faults, close };
}

export async function signIn(page, user = USER, password = PASSWORD) {
  await page.goto(`${URL_OF_IT}/sign-in`);
  await page.locator('input[autocomplete=username]').fill(user);
  await page.locator('input[autocomplete=current-password]').fill(password);
  const refused = page.locator('[role=alert]');
  for (let tries = 1; ; tries += 1) {
    await page.locator('button[type=submit]').click();
    const answered = page.locator('.ek-side, [role=alert]').first().waitFor({ state: 'attached' });
    await answered.catch(async (error) => {
      throw new Error(`nothing came of it: ${(await page.locator('body').innerText()).slice(0, 300)}`, { cause: error });
    });
    if ((await page.locator('.ek-side').count()) > 0) return;
    // An engine that is busy says so, and is asked again.
    const why = await refused.first().innerText();
    if (tries === 3) throw new Error(`nobody came in: ${why}`);
    console.log(`note  asked again, since: ${why}`);
    await page.waitForTimeout(2000);
  }
}

/** Frames in a row that show nothing of waiting: what is drawn may begin to fetch something more. */
const STILL = 6;

/** The page is drawn: nothing is being fetched, and no grey shape is left. */
export async function settled(page) {
  const end = Date.now() + LIMIT;
  const open = asked.get(page);
  let busy = true;
  while (busy && Date.now() < end) {
    busy = open.size > 0;
    await still(page);
    busy ||= open.size > 0;
  }
}

async function still(page) {
  await page.evaluate(() => {
    window.__still = 0;
  });
  await page.waitForFunction((still) => {
    const waits = document.querySelector('.ant-skeleton-active, .ek-waiting, .ant-spin-spinning') || !document.querySelector('h1') || document.fonts.status !== 'loaded';
    window.__still = waits ? 0 : window.__still + 1;
    return window.__still > still;
  }, STILL, { timeout: LIMIT });
}

/** Language and theme, as the reader of this browser has chosen them. */
export async function choose(page, { language, theme }) {
  await page.evaluate(({ language, theme }) => {
    if (language) localStorage.setItem('evenkeel.language', language);
    if (theme) localStorage.setItem('evenkeel.theme', theme);
  }, { language, theme });
}
