// A picture of each page: `E2E_SHOTS=folder node e2e/shots.mjs [light|dark] [en|zh] [width] [page…]`.
import { mkdirSync } from 'node:fs';
import { SHOTS, URL_OF_IT, browser, choose, settled, signIn } from './browser.mjs';
import { addresses } from './addresses.mjs';

const [theme = 'light', language = 'en', width = '1440', ...wanted] = process.argv.slice(2);
mkdirSync(SHOTS, { recursive: true });
const { page, faults, foreign, close } = await browser();
try {
  await page.setViewportSize({ width: Number(width), height: Number(process.env.E2E_HEIGHT ?? (Number(width) < 500 ? 844 : 900)) });
  await page.goto(`${URL_OF_IT}/sign-in`);
  await choose(page, { language, theme });
  if (wanted.length === 0 || wanted.includes('signin')) {
    await page.reload();
    await page.locator('button[type=submit]').waitFor();
    await page.screenshot({ path: `${SHOTS}/signin-${theme}-${language}-${width}.png` });
  }
  await signIn(page);
  for (const [name, path] of Object.entries(await addresses(page))) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    await page.goto(URL_OF_IT + path);
    await settled(page).catch(() => faults.push(`${name}: it is never done loading`));
    await page.screenshot({ path: `${SHOTS}/${name}-${theme}-${language}-${width}.png` });
    const wide = await page.evaluate(() => document.querySelector('.ek-main').scrollWidth - document.querySelector('.ek-main').clientWidth);
    if (wide > 1) faults.push(`${name}: wider than its window by ${wide} px at ${width}`);
  }
} finally {
  await close();
}
for (const fault of [...faults, ...foreign.map((url) => `asked another host: ${url}`)]) console.error(fault);
process.exit(faults.length + foreign.length ? 1 : 0);
