// All of it, one after another: `E2E_URL=… E2E_USER=… E2E_PASSWORD=… E2E_SHOTS=folder npm run e2e`.
//   node e2e/run.mjs        against the mock, with all pictures
//   node e2e/run.mjs real   against an engine (E2E_VIEWER, E2E_VIEWER_PASSWORD: a user who only looks): a Deployment E2E_GOOD=default/nginx with a good and a bad release, one E2E_ASKS that waits for approval, an alert, lines of log
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const PHONE = ['shots.mjs', 'light', 'en', '390', 'overview', 'alerts', 'alert', 'devices', 'device'];
const RUNS = {
  mock: [
    ['flow.mjs'], ['scenarios-watch.mjs'], ['logs.mjs'], ['topology.mjs'], ['governing.mjs'], ['payloads.mjs'], ['axe.mjs'],
    ['shots.mjs', 'light', 'en', '1440'], ['shots.mjs', 'dark', 'en', '1440'], ['shots.mjs', 'light', 'zh', '1280'], ['shots.mjs', 'dark', 'zh', '1280'], PHONE,
  ],
  // What changes nothing comes before what does, and what looks at all pages comes last, when there is the most on them.
  real: [
    ['flow.mjs'], ['logs.mjs'], ['topology.mjs'], ['scenarios-watch.mjs', 'bad', 'history', 'keyboard', 'approve', 'undo', 'acknowledge', 'silence', 'backtest', 'receiver', 'edit', 'viewer', 'looks'],
    ['governing.mjs'], ['axe.mjs'], ['payloads.mjs'],
    ['shots.mjs', 'light', 'en', '1440'], ['shots.mjs', 'dark', 'zh', '1280'], ['shots.mjs', 'light', 'en', '390', 'alerts', 'devices'],
  ],
};
/** Milliseconds that one script may take: it waits for conditions, and each of them has a limit of its own. */
const LONGEST = 120_000;

const [against = 'mock'] = process.argv.slice(2);
const runs = RUNS[against];
if (!runs) {
  console.error(`run.mjs takes one of: ${Object.keys(RUNS).join(', ')}`);
  process.exit(2);
}
const failed = [];
for (const [script, ...given] of runs) {
  const name = [script, ...given].join(' ');
  const begun = Date.now();
  console.log(`== ${name}`);
  const ended = await ran(script, given);
  console.log(`== ${name}: ${ended === 0 ? 'ok' : `FAILED (${ended})`}, ${Math.round((Date.now() - begun) / 1000)} s`);
  if (ended !== 0) failed.push(name);
}
console.log(failed.length === 0 ? `all ${runs.length} scripts are ok` : `${failed.length} of ${runs.length} scripts failed: ${failed.join('; ')}`);
process.exit(failed.length > 0 ? 1 : 0);

/** Its exit code, or the word that says how it was ended. */
function ran(script, given) {
  return new Promise((ended) => {
    const child = spawn(process.execPath, [fileURLToPath(new URL(script, import.meta.url)), ...given], {
      stdio: 'inherit',
      env: { ...process.env, ...(against === 'real' && { E2E_REAL: '1' }) },
    });
    const late = setTimeout(() => child.kill('SIGTERM'), LONGEST);
    child.on('error', (error) => ended(error.message));
    child.on('exit', (code, signal) => {
      clearTimeout(late);
      ended(code ?? `${signal}: it took more than ${LONGEST / 1000} s`);
    });
  });
}
