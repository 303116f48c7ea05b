// No text that comes from outside is ever run: each answer of the engine is filled with payloads on its way, in every field that takes text,
// and each page is opened with them, in both languages.
import { readFileSync } from 'node:fs';
import { IS_REAL, URL_OF_IT, browser, choose, settled, signIn } from './browser.mjs';
import { addresses } from './addresses.mjs';
import { end, must, scenario } from './steps.mjs';

const { PAYLOADS, MARK } = await payloads();
/** Fields that somebody outside can write into. Others are words of the engine's own, times and names that are checked. */
const FIELDS = new Set('text summary message author reason program process host hosts title detail problem comment why what said signer displayName email groups waits address url by labels annotations findings changes version wants hint note os osVersion kernel serial diff'.split(' '));
const NAMES = new Set(['name', 'device', 'deployment', 'user', 'target', 'unit', 'devices', 'deleted', 'touched', 'rule', 'root', 'parent', 'child']);

let next = 0;
/** JSON of the engine is UTF-8: half a pair can't be in it. */
const TEXTS = PAYLOADS.map(({ text }) => text).filter((text) => text.isWellFormed());
const payload = () => TEXTS[next++ % TEXTS.length];

/** The same value with payloads in it. */
function filled(value, key, names) {
  if (typeof value === 'string') return FIELDS.has(key) || (names && NAMES.has(key)) ? payload() : value;
  if (Array.isArray(value)) return value.map((one) => filled(one, key, names));
  if (typeof value !== 'object' || value === null) return value;
  const isMap = key === 'labels' || key === 'annotations';
  return Object.fromEntries(Object.entries(value).map(([inner, one]) => [inner, filled(one, isMap ? key : inner, names)]));
}

const { page, foreign, faults, close } = await browser();
const dialogs = [];
page.on('dialog', (dialog) => {
  dialogs.push(dialog.message());
  void dialog.dismiss();
});
try {
  await signIn(page);
  const all = { ...(await addresses(page)), 'log kinds': '/logs?view=kinds', senders: '/logs?view=senders', plan: '/source?revision=main', entry: `/audit?entry=${await newest(page)}` };
  let names = false;
  await page.route(/\/api\/v1\/(?!session|access|events|logs\/tail|audit\/export)/, async (route) => {
    const response = await route.fetch({ maxRetries: 3 }).catch(() => undefined);
    const text = response && (response.headers()['content-type'] ?? '').includes('json') ? await response.text() : '';
    if (!text) return response ? route.fulfill({ response }) : route.abort();
    return route.fulfill({ response, body: JSON.stringify(filled(JSON.parse(text), '', names)) });
  });
  for (const language of ['en', 'zh']) {
    // Before an engine each page is opened once, and has them in its names too.
    names = IS_REAL || language === 'zh';
    await choose(page, { language });
    for (const [at, [name, path]] of Object.entries(all).entries()) {
      // Before an engine there is time for each page in one of the two.
      if (IS_REAL && (at % 2 === 0) !== (language === 'zh')) continue;
      await scenario(page, `${name} (${language}) runs nothing that it shows`, async () => {
        const before = faults.length;
        await page.goto(URL_OF_IT + path);
        await settled(page);
        const opener = page.locator('button[data-row], .ant-table-row-expand-icon-collapsed').first();
        if ((await opener.count()) > 0) await opener.click();
        await settled(page);
        const found = await page.evaluate((mark) => {
          const links = [...document.querySelectorAll('a[href], area[href], form[action], iframe, object, embed, base')];
          const bad = links.filter((one) => !/^(https?:|blob:)/.test(one.href ?? one.action ?? 'frame:')).map((one) => one.outerHTML.slice(0, 200));
          const handlers = [...document.querySelectorAll('#root *')].filter((one) => [...one.attributes].some(({ name }) => name.startsWith('on'))).map((one) => one.outerHTML.slice(0, 200));
          const main = document.querySelector('.ek-main');
          return { ran: mark in window, bad, handlers, scripts: document.querySelectorAll('#root script').length, polluted: {}.polluted, wide: main ? main.scrollWidth - main.clientWidth : 0, widest: main ? widest(main) : '' };
          function widest(within) {
            const edge = within.getBoundingClientRect().right;
            const over = [...within.querySelectorAll('*')].filter((one) => one.getBoundingClientRect().right > edge + 1);
            return over.slice(0, 1).map((one) => `${one.tagName} ${one.getAttribute('class')} ${one.textContent.slice(0, 60)}`).join('');
          }
        }, MARK);
        must(!found.ran && dialogs.length === 0, 'a payload was run');
        must(faults.length === before, `a fault: ${faults.at(-1)?.slice(0, 300)}`);
        must(!found.polluted, 'a prototype was changed');
        must(found.scripts === 0 && found.handlers.length === 0, `markup came out of a text: ${found.handlers[0]}`);
        must(found.bad.length === 0, `an address that is none: ${found.bad[0]}`);
        must(found.wide <= 1, `a long word makes the page ${found.wide} px wider than its window: ${found.widest}`);
      });
    }
  }
} finally {
  await close();
}
end({ foreign, faults });

/** The newest entry of the audit log. */
function newest(page) {
  return page.evaluate(async () => (await (await fetch('/api/v1/audit?limit=1')).json()).items?.[0]?.index ?? 0);
}

/** The payloads are written once, in the UI's own code, beside the test of how they are shown. */
async function payloads() {
  const source = readFileSync(new URL('../src/pages/text/payloads.ts', import.meta.url), 'utf8');
  const plain = source.replace(/^export type .*$/gm, '').replace(': Payload[]', '');
  return import(`data:text/javascript,${encodeURIComponent(plain)}`);
}
