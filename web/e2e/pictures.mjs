// The pictures of the README, of a running `cargo xtask demo`: `E2E_URL=… E2E_USER=… E2E_PASSWORD=… node web/e2e/pictures.mjs`.
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { URL_OF_IT, browser, choose, settled, signIn } from './browser.mjs';

const FOLDER = fileURLToPath(new URL('../../docs/pictures', import.meta.url));
const PICTURES = { deployment: '/deployments/default/nginx', device: '/devices/default/db-ams1-01?range=15m' };

mkdirSync(FOLDER, { recursive: true });
const { page, close } = await browser();
try {
  await page.goto(`${URL_OF_IT}/sign-in`);
  await choose(page, { language: 'en', theme: 'light' });
  await signIn(page);
  for (const [name, path] of Object.entries(PICTURES)) {
    await page.goto(URL_OF_IT + path);
    await settled(page);
    await page.screenshot({ path: `${FOLDER}/${name}.png` });
  }
} finally {
  await close();
}
