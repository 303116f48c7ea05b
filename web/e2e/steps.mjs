// Scenarios, one after another: each says what it saw, and a failing one leaves a picture.
import { mkdirSync } from 'node:fs';
import { SHOTS } from './browser.mjs';

const failed = [];

/** Runs a scenario. What comes after it runs as well. */
export async function scenario(page, name, steps) {
  try {
    await steps();
    console.log(`ok    ${name}`);
  } catch (error) {
    failed.push(name);
    mkdirSync(SHOTS, { recursive: true });
    await page.screenshot({ path: `${SHOTS}/failed-${name.replace(/\W+/g, '-')}.png` }).catch(() => {});
    console.log(`FAIL  ${name}: ${error.stack?.split('\n').slice(0, 3).join('\n        ')}`);
  }
}

/** Fails with words. */
export function must(is, words) {
  if (!is) throw new Error(words);
}

/** Ends: faults of scripts and requests to other hosts fail it too. */
export function end({ foreign, faults }) {
  for (const fault of faults) console.log(`FAIL  a fault in a page: ${fault}`);
  for (const url of foreign) console.log(`FAIL  another host was asked: ${url}`);
  process.exit(failed.length + faults.length + foreign.length > 0 ? 1 : 0);
}
