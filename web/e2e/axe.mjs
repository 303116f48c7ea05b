// No serious fault of accessibility on any page, in both themes.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { IS_REAL, URL_OF_IT, browser, choose, settled, signIn } from './browser.mjs';
import { addresses } from './addresses.mjs';

const source = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const wanted = process.argv.slice(2);
const { page, close } = await browser();
let bad = 0;
let looked = 0;

/** Asks axe, from outside the page's own scripts: the CSP stays as it is. */
async function look(name) {
  await page.evaluate(source);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] }));
  looked += 1;
  for (const { id, impact, help, nodes } of violations) {
    const serious = impact === 'serious' || impact === 'critical';
    if (serious) bad += 1;
    console.log(`${serious ? 'FAULT' : 'note '} ${name}: ${id} (${impact}): ${help}`);
    if (serious) for (const node of nodes.slice(0, 4)) console.log(`        ${node.target.join(' ')}\n        ${node.failureSummary?.split('\n').slice(1, 3).join(' ').slice(0, 220)}`);
  }
}

try {
  for (const theme of ['light', 'dark']) {
    await page.context().clearCookies();
    await page.goto(`${URL_OF_IT}/sign-in`);
    await choose(page, { theme, language: 'en' });
    await page.reload();
    await page.locator('button[type=submit]').waitFor();
    await look(`sign-in, ${theme}`);
    await signIn(page);
    for (const [at, [name, path]] of Object.entries(await addresses(page)).entries()) {
      // Before an engine there is time for each page in one of the two.
      if (IS_REAL && (at % 2 === 0) !== (theme === 'light')) continue;
      if (wanted.length > 0 && !wanted.includes(name)) continue;
      await page.goto(URL_OF_IT + path);
      await settled(page).catch(() => console.log(`note  ${name}: it is never done loading`));
      await look(`${name}, ${theme}`);
    }
  }
} finally {
  await close();
}
console.log(`${looked} pages looked at, ${bad} serious faults`);
process.exit(bad > 0 || looked === 0 ? 1 : 0);
