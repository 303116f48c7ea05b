// Somebody without a mouse: signs in, finds a device, and silences an alert. Nothing is clicked, and it is always seen where one is.
import { URL_OF_IT, PASSWORD, USER, browser, choose, settled } from './browser.mjs';
import { end, must, scenario } from './steps.mjs';

const { page, foreign, faults, close } = await browser();
const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());

/** Tab until what has the focus fits, as somebody would who looks where the frame around it is. */
async function tabTo(what, fits, most = 120) {
  for (let at = 0; at < most; at++) {
    if (await page.evaluate(fits)) {
      must(await page.evaluate(() => document.activeElement.matches(':focus-visible')), `${what} has the focus, and it can't be seen`);
      return;
    }
    await page.keyboard.press('Tab');
  }
  throw new Error(`${most} times Tab never lead to ${what}`);
}

try {
  await scenario(page, 'one signs in by keys', async () => {
    await page.goto(`${URL_OF_IT}/sign-in`);
    await choose(page, { language: 'en', theme: 'light' });
    await page.reload();
    await page.locator('button[type=submit]').waitFor();
    await tabTo('the user', () => document.activeElement.matches('input[autocomplete=username]'));
    await page.keyboard.type(USER);
    await tabTo('the password', () => document.activeElement.matches('input[autocomplete=current-password]'));
    await page.keyboard.type(PASSWORD);
    await press('Enter');
    await page.locator('.ek-side').waitFor({ state: 'attached' });
  });
  await scenario(page, 'one finds a device by keys', async () => {
    await settled(page);
    await press('g', 'd');
    await page.locator('h1', { hasText: 'Devices' }).waitFor();
    await settled(page);
    await tabTo('a device', () => document.activeElement.matches('main a[href^="/devices/"]'));
    const to = await page.evaluate(() => document.activeElement.getAttribute('href'));
    await press('Enter');
    await page.waitForURL(`**${to}`);
    await page.locator('h1', { hasText: to.split('/').at(-1) }).waitFor();
  });
  await scenario(page, 'one silences an alert by keys', async () => {
    await settled(page);
    await press('g', 'a');
    await page.locator('h1', { hasText: 'Alerts' }).waitFor();
    await settled(page);
    if ((await page.locator('.alert').count()) === 0) {
      // What fires is kept quiet just now, by a rollout for example: it is two tabs further.
      await tabTo('the shelves', () => document.activeElement.matches('[role=tab]'));
      await press('ArrowRight', 'ArrowRight');
      if (!(await page.evaluate(() => document.activeElement.getAttribute('aria-selected') === 'true'))) await press('Enter');
      await page.locator('.alert').first().waitFor();
    }
    await tabTo('“Silence”', () => document.activeElement.matches('main button') && document.activeElement.textContent.trim() === 'Silence');
    await press('Enter');
    await page.getByRole('dialog').locator('.silence-preview strong').waitFor();
    await tabTo('the reason', () => document.activeElement.matches('[role=dialog] textarea'));
    await page.keyboard.type('the rack is being moved');
    await tabTo('“Create the silence”', () => document.activeElement.textContent.trim() === 'Create the silence');
    await press('Enter');
    await page.locator('.follow, .ant-message-success').first().waitFor();
  });
} finally {
  await close();
}
end({ foreign, faults });
