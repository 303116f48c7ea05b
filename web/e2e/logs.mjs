// Logs are searched, their histogram is brushed, and lines come by themselves.
import { URL_OF_IT, browser, settled, signIn } from './browser.mjs';
import { end, must, scenario } from './steps.mjs';

const { page, foreign, faults, close } = await browser();
const query = () => new URL(page.url()).searchParams;
const rows = () => page.locator('button[data-row]');
try {
  await signIn(page);

  await scenario(page, 'a search is in the address and finds lines that fit', async () => {
    await page.goto(`${URL_OF_IT}/logs?range=24h`);
    await settled(page);
    must((await rows().count()) > 0, 'there are no lines: send some first');
    const word = /[a-z]{5,}/i.exec((await rows().first().getAttribute('aria-label')).split(': ').at(-1))?.[0];
    must(word, 'the first line has no word to search for');
    await page.getByRole('search').locator('input').first().fill(`(${word})`);
    await page.keyboard.press('Enter');
    await page.waitForURL((url) => url.searchParams.get('q') === `(${word})`);
    await settled(page);
    for (const label of await rows().evaluateAll((all) => all.map((one) => one.getAttribute('aria-label')))) {
      must(label.toLowerCase().includes(word.toLowerCase()), `${label} has no ${word}`);
    }
  });

  await scenario(page, 'a pattern that is none is refused in words', async () => {
    await page.goto(`${URL_OF_IT}/logs?q=(`);
    await page.locator('[role=alert]').first().waitFor();
    await settled(page);
    // The browser notes each answer that is a refusal; this one was asked for.
    faults.splice(0, faults.length, ...faults.filter((fault) => !/\b(400|500)\b.*q=%28/.test(fault)));
  });

  await scenario(page, 'rows are walked through and opened by keys', async () => {
    await page.goto(`${URL_OF_IT}/logs?range=24h`);
    await settled(page);
    await rows().first().focus();
    await page.keyboard.press('ArrowDown');
    await page.waitForFunction(() => document.activeElement?.matches('button[data-row]') && document.activeElement !== document.querySelector('button[data-row]'));
    await page.keyboard.press('Enter');
    must((await page.locator('button[data-row][aria-expanded=true]').count()) === 1, 'no row has opened');
    must((await page.locator('dl').count()) > 0, 'its fields are not shown');
  });

  await scenario(page, 'a part of the histogram is chosen by keys and gone back from', async () => {
    await page.goto(`${URL_OF_IT}/logs?range=24h`);
    await settled(page);
    await page.locator('svg[role=application]').focus();
    await page.keyboard.press('End');
    await page.keyboard.press('Shift+ArrowLeft');
    await page.keyboard.press('Enter');
    await page.waitForURL((url) => url.searchParams.has('since') && url.searchParams.has('until'));
    must(!query().has('range'), 'two ranges are in the address');
    await page.goBack();
    must(query().get('range') === '24h', 'the way back leads elsewhere');
  });

  await scenario(page, 'lines come by themselves, and wait while somebody reads', async () => {
    await page.goto(`${URL_OF_IT}/logs?live=1`);
    await rows().nth(1).waitFor({ timeout: 30_000 });
    await page.getByRole('button', { name: /(Hold|暂停)$/ }).click();
    const first = await rows().first().getAttribute('data-row');
    // Once something new has come, it is seen whether it was held.
    await page.getByText(/(Held while you read: [1-9]|阅读时已暂停：[1-9])/).waitFor({ timeout: 30_000 });
    must((await rows().first().getAttribute('data-row')) === first, 'it goes on though it is held');
    await page.getByRole('button', { name: /(Show them|显示新日志)$/ }).click();
    await page.waitForFunction((first) => document.querySelector('button[data-row]')?.dataset.row !== first, first, { timeout: 15_000 });
  });
} finally {
  await close();
}
end({ foreign, faults });
