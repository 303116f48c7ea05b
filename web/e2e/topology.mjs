// The topology is gone through by keys alone.
import { URL_OF_IT, browser, settled, signIn } from './browser.mjs';
import { end, must, scenario } from './steps.mjs';

const { page, foreign, faults, close } = await browser();
const focused = () => page.evaluate(() => document.activeElement?.dataset.id);
try {
  await signIn(page);
  await page.goto(`${URL_OF_IT}/topology`);
  await settled(page);

  await scenario(page, 'the tree is entered by Tab, and arrows move in it', async () => {
    for (let at = 0; at < 60 && (await focused()) === undefined; at++) await page.keyboard.press('Tab');
    const first = await focused();
    must(first, 'Tab never leads into the tree');
    await page.keyboard.press('ArrowDown');
    await page.waitForFunction((first) => ![undefined, first].includes(document.activeElement?.dataset.id), first);
    await page.keyboard.press('Home');
    await page.waitForFunction((first) => document.activeElement?.dataset.id === first, first);
    must((await page.locator('[role=treeitem][tabindex="0"]').count()) === 1, 'Tab would stop at more than one');
  });

  await scenario(page, 'a parent opens and closes by Space', async () => {
    const parent = page.locator('[role=treeitem][aria-expanded=true]').first();
    must((await parent.count()) === 1, 'nothing is behind anything: give some devices parents');
    const id = await parent.getAttribute('data-id');
    const before = await page.locator('[role=treeitem]').count();
    await parent.focus();
    await page.keyboard.press('Space');
    await page.waitForFunction((id) => document.querySelector(`[data-id="${id}"]`)?.getAttribute('aria-expanded') === 'false', id);
    must((await page.locator('[role=treeitem]').count()) < before, 'nothing has gone');
    await page.keyboard.press('Space');
    await page.waitForFunction((before) => document.querySelectorAll('[role=treeitem]').length === before, before);
  });

  await scenario(page, 'it becomes larger and is seen whole again by keys', async () => {
    const scale = () => page.evaluate(() => document.querySelector('[role=tree] > g').getAttribute('transform'));
    await page.locator('[role=treeitem]').first().focus();
    const whole = await scale();
    await page.keyboard.press('+');
    must((await scale()) !== whole, '+ does nothing');
    await page.keyboard.press('0');
    must((await scale()) === whole, '0 does not show all');
  });

  await scenario(page, 'Enter goes to the device', async () => {
    await page.locator('[role=treeitem]').first().focus();
    const id = await focused();
    await page.keyboard.press('Enter');
    await page.waitForURL(`**/devices/${id}`);
  });

  await scenario(page, 'a filter is in the address and leaves what fits', async () => {
    await page.goto(`${URL_OF_IT}/topology`);
    await settled(page);
    const name = (await page.locator('[role=treeitem]').last().getAttribute('data-id')).split('/').at(-1).replace('>', '');
    await page.getByRole('search').locator('input').first().fill(name);
    await page.waitForURL((url) => url.searchParams.get('q') === name);
    await page.locator(`[data-id$="${name}"]`).first().waitFor();
  });
} finally {
  await close();
}
end({ foreign, faults });
