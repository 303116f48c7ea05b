// All of it, one after another: `E2E_URL=… E2E_USER=… E2E_PASSWORD=… E2E_SHOTS=folder npm run e2e`.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const RUNS = [
  ['flow.mjs'], ['logs.mjs'], ['topology.mjs'], ['governing.mjs'], ['payloads.mjs'], ['axe.mjs'],
  ['shots.mjs', 'light', 'en', '1440'], ['shots.mjs', 'dark', 'en', '1440'], ['shots.mjs', 'light', 'zh', '1280'], ['shots.mjs', 'dark', 'zh', '1280'],
  ['shots.mjs', 'light', 'en', '390', 'overview', 'alerts', 'alert', 'devices', 'device'],
];
let failed = 0;
for (const [script, ...given] of RUNS) {
  console.log(`== ${script} ${given.join(' ')}`);
  const { status } = spawnSync(process.execPath, [fileURLToPath(new URL(script, import.meta.url)), ...given], { stdio: 'inherit' });
  if (status !== 0) failed += 1;
}
process.exit(failed ? 1 : 0);
