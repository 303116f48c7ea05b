// All of it, on one browser: `E2E_URL=… E2E_USER=… E2E_PASSWORD=… E2E_SHOTS=folder npm run e2e`.
//   node e2e/run.mjs        against the mock
//   node e2e/run.mjs real   against an engine (E2E_VIEWER, E2E_VIEWER_PASSWORD: a user who only looks): a Deployment E2E_GOOD=default/nginx whose release
//                           is good, a bad one once `ok    good` was said, and another good one once `ok    edit` was; one E2E_ASKS that waits for
//                           approval, an alert, lines of log
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { sharedBrowser } from './browser.mjs';

const FIRST = ['flow.mjs', 'keyboard.mjs', 'logs.mjs', 'topology.mjs', 'governing.mjs'];
/** Parts, one after another. A part has rows, which go on at the same time: the scripts of one row follow each other, and mind nothing of other rows. */
const PARTS = {
  mock: [
    [FIRST, ['scenarios-watch.mjs']],
    [['looks.mjs 1/2'], ['looks.mjs 2/2'], ['payloads.mjs']],
  ],
  // What looks at all pages comes last, when there is the most on them.
  real: [
    [FIRST, ['scenarios-watch.mjs pause approve good bad history lanes acknowledge silence backtest receiver edit undo viewer looks']],
    [['looks.mjs 1/2'], ['looks.mjs 2/2'], ['payloads.mjs']],
  ],
};
/** Milliseconds until a script is one that hangs: it waits for conditions, each of which has a limit of its own. Alone it takes two minutes. */
const LONGEST = 900_000;

const [against = 'mock'] = process.argv.slice(2);
const parts = PARTS[against];
if (!parts) {
  console.error(`run.mjs takes one of: ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}
const failed = [];
const shared = await sharedBrowser();
for (const rows of parts) await Promise.all(rows.map(inTurn));
await shared.close();
const many = parts.flat(2).length;
console.log(failed.length === 0 ? `all ${many} scripts are ok` : `${failed.length} of ${many} scripts failed: ${failed.join('; ')}`);
process.exit(failed.length > 0 ? 1 : 0);

async function inTurn(row) {
  for (const name of row) {
    const begun = Date.now();
    const ended = await ran(name);
    console.log(`== ${name}: ${ended === 0 ? 'ok' : `FAILED (${ended})`}, ${Math.round((Date.now() - begun) / 1000)} s`);
    if (ended !== 0) failed.push(name);
  }
}

/** Its exit code, or the word that says how it was ended. */
function ran(name) {
  const [script, ...given] = name.split(' ');
  return new Promise((ended) => {
    const child = spawn(process.execPath, [fileURLToPath(new URL(script, import.meta.url)), ...given], {
      stdio: 'inherit',
      env: { ...process.env, E2E_BROWSER: shared.wsEndpoint(), ...(against === 'real' && { E2E_REAL: '1' }) },
    });
    const late = setTimeout(() => child.kill('SIGTERM'), LONGEST);
    child.on('error', (error) => ended(error.message));
    child.on('exit', (code, signal) => {
      clearTimeout(late);
      ended(code ?? `${signal}: it took more than ${LONGEST / 1000} s`);
    });
  });
}
