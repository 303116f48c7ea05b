// What a person does first: signs in, finds a device, reads it in both languages and both themes; and what a viewer may not do.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { PASSWORD, SHOTS, URL_OF_IT, USER, browser, choose, settled, signIn } from './browser.mjs';

mkdirSync(SHOTS, { recursive: true });
const { page, context, faults, foreign, close } = await browser();
const step = async (name, what) => {
  try {
    await what();
    console.log(`ok    ${name}`);
  } catch (error) {
    await page.screenshot({ path: `${SHOTS}/failed-${name.replaceAll(/\W+/g, '-')}.png` }).catch(() => {});
    faults.push(`${name}: ${error.message}`);
    console.log(`FAULT ${name}: ${error.message}`);
  }
};
const first = () => page.evaluate(async () => (await (await fetch('/api/v1/devices?limit=1')).json()).items[0].metadata.name);
let device = '';

try {
  await step('a wrong password is refused, and says no more', async () => {
    await page.goto(`${URL_OF_IT}/devices`);
    await choose(page, { language: 'en', theme: 'light' });
    await page.reload();
    await page.locator('input[autocomplete=username]').fill(USER);
    await page.locator('input[autocomplete=current-password]').fill('not this one at all');
    await page.locator('button[type=submit]').click();
    await page.getByText('User or password is wrong').waitFor();
    assert.equal(await page.locator('input[autocomplete=current-password]').inputValue(), '');
  });
  await step('whoever signs in sees what they asked for', async () => {
    await page.locator('input[autocomplete=current-password]').fill(PASSWORD);
    await page.locator('button[type=submit]').click();
    await page.locator('h1', { hasText: 'Devices' }).waitFor();
    assert.equal(new URL(page.url()).pathname, '/devices');
    device = await first();
  });
  await step('"/" searches, and Enter opens what was found', async () => {
    await settled(page);
    await page.keyboard.press('/');
    await page.keyboard.type(device);
    await page.locator('.ek-found').first().waitFor();
    await page.keyboard.press('Enter');
    await page.locator('h1', { hasText: device }).waitFor();
    assert.ok(new URL(page.url()).pathname.endsWith(`/${device}`));
  });
  await step('"g d" goes to the devices, and a filter is in the address', async () => {
    await settled(page);
    await page.locator('h1').click();
    await page.keyboard.press('g');
    await page.keyboard.press('d');
    await page.locator('h1', { hasText: 'Devices' }).waitFor();
    await page.locator('.ek-devices-search input, input.ek-devices-search').first().fill(device);
    await page.waitForFunction((name) => new URLSearchParams(location.search).get('q') === name, device);
    await page.getByRole('link', { name: device, exact: true }).first().waitFor();
    await page.reload();
    await page.getByRole('link', { name: device, exact: true }).first().waitFor();
  });
  await step('"?" lists the keys', async () => {
    await page.locator('h1').click();
    await page.keyboard.press('?');
    await page.getByRole('dialog').getByText('Keyboard shortcuts').waitFor();
    await page.keyboard.press('Escape');
  });
  await step('it speaks Chinese', async () => {
    await page.getByRole('button', { name: /^Language/ }).click();
    await page.getByRole('menuitem', { name: '中文' }).click();
    await page.locator('h1', { hasText: '设备' }).waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'zh-CN');
    await page.screenshot({ path: `${SHOTS}/flow-zh.png` });
  });
  await step('it is dark, and stays so', async () => {
    await page.getByRole('button', { name: '主题' }).click();
    await page.getByRole('menuitem', { name: '深色' }).click();
    await page.waitForFunction(() => document.documentElement.dataset.theme === 'dark');
    await page.reload();
    await page.locator('h1', { hasText: '设备' }).waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
    await page.screenshot({ path: `${SHOTS}/flow-dark.png` });
    await choose(page, { language: 'en', theme: 'light' });
    await page.reload();
  });
  await step('an address that leads nowhere says so', async () => {
    await page.goto(`${URL_OF_IT}/no/such/page`);
    await page.getByText('There is no such page').waitFor();
    await page.goto(`${URL_OF_IT}/devices/default/no-such-device`);
    await page.getByText('There is nothing here').waitFor();
  });
  await step('whoever signs out is out', async () => {
    await page.getByRole('button', { name: /^You/ }).click();
    await page.getByRole('menuitem', { name: /Sign out$/ }).click();
    await page.locator('input[autocomplete=username]').waitFor();
    await page.goto(`${URL_OF_IT}/devices`);
    await page.locator('input[autocomplete=username]').waitFor();
  });
  const viewer = process.env.E2E_VIEWER ?? 'viewer';
  await step('a viewer’s write is refused in the UI and by the engine', async () => {
    await signIn(page, viewer, process.env.E2E_VIEWER_PASSWORD ?? PASSWORD);
    await page.goto(`${URL_OF_IT}/devices`);
    await settled(page);
    const add = page.getByRole('button', { name: 'Add device' });
    assert.equal(await add.getAttribute('aria-disabled'), 'true');
    await add.hover();
    await page.getByRole('tooltip').filter({ hasText: /edit/ }).waitFor();
    const status = await page.evaluate(async () => {
      const { csrf } = await (await fetch('/api/v1/session')).json();
      const headers = { 'Content-Type': 'application/json', 'X-CSRF-Token': csrf };
      const body = JSON.stringify({ apiVersion: 'evenkeel.dev/v1alpha1', kind: 'Device', metadata: { name: 'sneaked-in' }, spec: { type: 'Server', address: '192.0.2.9' } });
      return (await fetch('/api/v1/devices', { method: 'POST', headers, body })).status;
    });
    assert.equal(status, 403);
  });
  await step('no token is left where scripts can read it', async () => {
    assert.deepEqual(await page.evaluate(() => [document.cookie, ...Object.keys(localStorage).filter((key) => !/^evenkeel\.(language|theme|menu)/.test(key) && !key.startsWith('evenkeel.'))]), ['']);
    const cookies = await context.cookies();
    assert.ok(cookies.every(({ httpOnly }) => httpOnly), 'a cookie can be read by scripts');
  });
} finally {
  await close();
}
for (const url of foreign) console.error(`asked another host: ${url}`);
for (const fault of faults) console.error(fault);
process.exit(faults.length + foreign.length ? 1 : 0);
