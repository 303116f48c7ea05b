// Each page as it looks, light and dark, in English and Chinese, some also on a telephone: a picture of each, none wider than its window, nor at the widths
// of a tablet, and no serious fault of accessibility in either theme or on the telephone: `E2E_SHOTS=folder node e2e/looks.mjs [1/2] [page…]`, where 1/2 is the first half of them.
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { addresses } from './addresses.mjs';
import { SHOTS, URL_OF_IT, browser, choose, settled, signIn } from './browser.mjs';
import { must, scenario, end } from './steps.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'];
/** Pages that are read on a telephone. */
const PHONE = ['signin', 'overview', 'devices', 'device', 'alerts', 'alert'];
/** The narrower one is the least that a layout has to fit in. */
const SIZES = { en: { width: 1440, height: 900 }, zh: { width: 1280, height: 900 } };
const ON_PHONE = { width: 390, height: 844 };
/** Widths between these two, of a tablet: there is no picture of them, only nothing may be wider than the window. */
const BETWEEN = [1024, 768];

const [part, ...rest] = /^\d+\/\d+$/.test(process.argv[2] ?? '') ? process.argv.slice(2) : ['1/1', ...process.argv.slice(2)];
const [which, of] = part.split('/').map(Number);

mkdirSync(SHOTS, { recursive: true });
const { page, faults, foreign, close } = await browser();
let pictures = 0;

/** One page, in both themes: they change as the reader's system does, without fetching it anew. */
async function look(name, language) {
  const phone = PHONE.includes(name);
  for (const theme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: theme });
    await page.waitForFunction((theme) => document.documentElement.dataset.theme === theme, theme);
    await picture(`${name}-${theme}-${language}`);
    if (language === 'en') await accessible();
    const once = language === 'en' && theme === 'light';
    for (const width of once ? BETWEEN : []) {
      await resize({ width, height: 900 });
      await fits(`${name} at ${width} px`);
    }
    if (phone) {
      await resize(ON_PHONE);
      await picture(`${name}-${theme}-${language}-phone`);
      if (once) await accessible();
    }
    if (once || phone) await resize(SIZES[language]);
  }
}

async function resize(size) {
  await page.setViewportSize(size);
  await settled(page);
}

async function picture(called) {
  await page.screenshot({ path: `${SHOTS}/${called}.png` });
  pictures += 1;
  await fits(called);
}

async function fits(called) {
  const wide = await page.evaluate(() => {
    const main = document.querySelector('.ek-main') ?? document.documentElement;
    return main.scrollWidth - main.clientWidth;
  });
  must(wide <= 1, `${called} is wider than its window by ${wide} px`);
}

/** Asks axe, from outside the page's own scripts: the CSP stays as it is. */
async function accessible() {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate((rules) => globalThis.axe.run(document, { resultTypes: ['violations'], runOnly: rules }), RULES);
  const said = violations.map(({ id, impact, help, nodes }) => ({ serious: ['serious', 'critical'].includes(impact), text: `${id} (${impact}): ${help}: ${nodes.slice(0, 4).map(({ target, failureSummary }) => `${target.join(' ')} ${failureSummary?.split('\n').slice(1, 3).join(' ').slice(0, 220)}`).join('; ')}` }));
  for (const { serious, text } of said) if (!serious) console.log(`note  ${text.slice(0, 200)}`);
  const serious = said.filter(({ serious }) => serious);
  must(serious.length === 0, serious.map(({ text }) => text).join('\n'));
}

try {
  await page.goto(`${URL_OF_IT}/sign-in`);
  await choose(page, { language: 'en', theme: 'system' });
  for (const language of which === 1 ? ['en', 'zh'] : []) {
    if (rest.length > 0 && !rest.includes('signin')) continue;
    await choose(page, { language });
    await page.setViewportSize(SIZES[language]);
    await page.reload();
    await page.locator('button[type=submit]').waitFor();
    await scenario(page, `signin (${language})`, () => look('signin', language));
  }
  await signIn(page);
  const all = Object.entries(await addresses(page)).filter(([name], at) => at % of === which - 1 && (rest.length === 0 || rest.includes(name)));
  for (const language of ['en', 'zh']) {
    await choose(page, { language });
    for (const [name, path] of all) {
      await scenario(page, `${name} (${language})`, async () => {
        // Where the page before was too wide, the window is still as narrow as it was then.
        await page.setViewportSize(SIZES[language]);
        await page.goto(URL_OF_IT + path);
        await settled(page);
        await look(name, language);
      });
    }
  }
} finally {
  await close();
}
console.log(`${pictures} pictures are in ${SHOTS}`);
end({ foreign, faults });
