// What people do with rollouts, alerts and silences, against the mock (MOCK_SOAK=3) or a real engine: `node e2e/scenarios-watch.mjs [name…]`.
//   E2E_URL, E2E_USER, E2E_PASSWORD, E2E_VIEWER, E2E_VIEWER_PASSWORD; E2E_GOOD, E2E_BAD, E2E_ASKS: the Deployments that are looked at.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { browser, choose, IS_REAL, settled, SHOTS, signIn, URL_OF_IT } from './browser.mjs';

const GOOD = process.env.E2E_GOOD ?? 'default/nginx';
const BAD = process.env.E2E_BAD ?? (IS_REAL ? 'default/nginx' : 'default/app');
const ASKS = process.env.E2E_ASKS ?? 'default/postgres';
const VIEWER = process.env.E2E_VIEWER ?? 'viewer';
const VIEWER_PASSWORD = process.env.E2E_VIEWER_PASSWORD ?? 'evenkeel';
/** Milliseconds that a rollout may take. */
const LONG = Number(process.env.E2E_LONG ?? 120_000);
/** Set by a payload that was run; nothing may ever set it. */
const MARK = '__evenkeel_ran';

mkdirSync(SHOTS, { recursive: true });
let shot = 0;

async function open(page, path) {
  await page.goto(URL_OF_IT + path);
  await settled(page);
}

async function picture(page, name) {
  shot += 1;
  await page.screenshot({ path: `${SHOTS}/scenario-${String(shot).padStart(2, '0')}-${name}.png` });
}

/** Waits until the phase beside the title is one of these; nobody loads the page anew: it is told by the change feed. */
async function phase(page, words) {
  const beside = page.locator('.ek-page-title .ek-sign').first();
  await page.waitForFunction((wanted) => wanted.includes(document.querySelector('.ek-page-title .ek-sign')?.textContent?.trim()), words, { timeout: LONG });
  return (await beside.textContent())?.trim();
}

/** What fires; where all of it is kept quiet just now, that. */
async function openAlerts(page) {
  await open(page, '/alerts');
  if ((await page.locator('.alert').count()) === 0) await open(page, '/alerts?show=suppressed');
  assert.ok((await page.locator('.alert').count()) > 0, 'no alert is firing, nor suppressed: there has to be one');
}

const hasNotRun = async (page) => assert.equal(await page.evaluate((mark) => window[mark], MARK), undefined, 'a text was run as a script');

export const scenarios = {
  /** A good rollout: batches come one after another until it is complete. */
  async good(page) {
    await open(page, `/deployments/${GOOD}`);
    await page.locator('.lane .cell').first().waitFor({ timeout: LONG });
    await picture(page, 'good-rollout');
    assert.equal(await phase(page, ['Complete']), 'Complete');
    assert.ok((await page.locator('.lane .cell-of-applied').count()) >= 1);
    assert.equal(await page.locator('.lane .cell-bad').count(), 0);
    await picture(page, 'good-rollout-complete');
  },

  /** A bad one: it fails, is taken back, and says why; nothing of what the device said is run. */
  async bad(page) {
    await open(page, `/deployments/${BAD}`);
    assert.equal(await phase(page, ['Rolled back']), 'Rolled back');
    const row = page.locator('.history-reason').first();
    await row.waitFor();
    assert.ok((await row.textContent()).length > 3, 'it says why');
    await picture(page, 'bad-rollout');
    await hasNotRun(page);
  },

  /** What was rolled out before stands in the history: what went well, what was taken back, and what was between them. */
  async history(page) {
    await open(page, `/deployments/${BAD}`);
    const history = page.locator('.ant-table-row');
    await history.filter({ hasText: 'Complete' }).first().waitFor();
    await history.filter({ hasText: 'Taken back' }).first().waitFor();
    await page.locator('.history-compare').waitFor();
    await picture(page, 'history');
  },

  /** Lanes can be gone through with the keyboard, and a cell says in words what it is. */
  async lanes(page) {
    await open(page, `/deployments/${GOOD}`);
    const lane = page.locator('.lane:has(a.cell)').last().locator('a.cell');
    await lane.first().focus();
    const words = await lane.first().getAttribute('aria-label');
    assert.match(words ?? '', /, .+/);
    await page.locator('.lane-tip').waitFor();
    if ((await lane.count()) > 1) {
      await page.keyboard.press('ArrowRight');
      assert.equal(await lane.nth(1).evaluate((cell) => cell === document.activeElement), true);
    }
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/devices\//);
  },

  /** What waits for a person says exactly what would be approved, and goes on after that. */
  async approve(page) {
    await open(page, `/deployments/${ASKS}`);
    assert.equal(await phase(page, ['Awaiting approval']), 'Awaiting approval');
    await page.locator('.wait-person').getByRole('button', { name: /Approve/ }).click();
    const dialog = page.getByRole('dialog');
    await dialog.waitFor();
    assert.match(await dialog.textContent(), /open batch \d/);
    assert.match(await dialog.textContent(), /Approval [0-9a-f]{12}/);
    await picture(page, 'approve');
    await dialog.getByRole('button', { name: 'Approve' }).click();
    await dialog.waitFor({ state: 'hidden' });
    await phase(page, ['Soaking', 'Progressing', 'Complete', 'Awaiting approval']);
  },

  /** Paused by a person, and resumed. */
  async pause(page) {
    await open(page, `/deployments/${ASKS}`);
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.locator('.ant-popconfirm').getByRole('button', { name: 'OK' }).click();
    await page.getByRole('button', { name: 'Resume' }).waitFor();
    await picture(page, 'paused');
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.locator('.ant-popconfirm:visible').getByRole('button', { name: 'OK' }).click();
    await page.getByRole('button', { name: 'Pause' }).waitFor();
  },

  /** The first alert is acknowledged with a comment and until when, which is then read beside it. */
  async acknowledge(page) {
    await openAlerts(page);
    const alert = page.locator('.alert:not(:has(.alert-seen)):has(button)').first();
    const summary = await alert.locator('.alert-summary').textContent();
    await alert.getByRole('button', { name: 'Acknowledge' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Acknowledge' }).click();
    await dialog.getByText('Say what you do about it').waitFor();
    await dialog.locator('textarea').fill('a new disk is on its way');
    await picture(page, 'acknowledge');
    await dialog.getByRole('button', { name: 'Acknowledge' }).click();
    await dialog.waitFor({ state: 'hidden' });
    await page.locator('.alert', { hasText: summary }).locator('.alert-seen', { hasText: 'a new disk is on its way' }).first().waitFor();
  },

  /** A silence shows what it would mute before it is made, and the commit after that. */
  async silence(page) {
    await openAlerts(page);
    await page.locator('.alert').first().getByRole('button', { name: 'Silence' }).click();
    const drawer = page.getByRole('dialog');
    await drawer.locator('.silence-preview strong').waitFor();
    assert.match(await drawer.locator('.silence-preview').textContent(), /\d+ alerts?/);
    await drawer.getByRole('button', { name: 'Create the silence' }).click();
    await drawer.getByText('Say why').waitFor();
    await drawer.locator('textarea').fill('the switch is being exchanged');
    await picture(page, 'silence');
    await drawer.getByRole('button', { name: 'Create the silence' }).click();
    await page.locator('.follow, .ant-message-success').first().waitFor();
    await picture(page, 'silence-made');
  },

  /** A back-test says how often, where and how long. */
  async backtest(page) {
    await open(page, '/rules');
    await page.locator('.ant-table-row a.ek-name').first().click();
    await settled(page);
    await page.getByRole('button', { name: 'Run' }).click();
    await page.locator('.backtest-headline').waitFor({ timeout: LONG });
    assert.match(await page.locator('.backtest-headline').textContent(), /would (not )?have fired|Nothing can be said/);
    await page.locator('.backtest').scrollIntoViewIfNeeded();
    await picture(page, 'backtest');
  },

  /** The result of a receiver's test is said in words, also where it fails. */
  async receiver(page) {
    await open(page, '/receivers');
    await page.getByRole('button', { name: 'Send a test' }).first().click();
    await page.locator('.receiver-tested').waitFor({ timeout: LONG });
    assert.ok((await page.locator('.receiver-tested').textContent()).length > 5);
    await picture(page, 'receiver-tested');
    await page.getByRole('tab', { name: /Not delivered/ }).click();
    await settled(page);
    await picture(page, 'dead-letters');
    await hasNotRun(page);
  },

  /** An object is edited as YAML: what would happen first, then the commit until it is in force. */
  async edit(page) {
    await open(page, `/deployments/${GOOD}`);
    await page.getByRole('button', { name: 'Edit' }).click();
    const drawer = page.getByRole('dialog');
    const text = drawer.locator('.code-area textarea');
    await text.waitFor();
    const before = await text.inputValue();
    assert.match(before, /kind: Deployment/);
    assert.doesNotMatch(before, /^status:/m);
    await text.fill('kind: [');
    await text.press('Control+Enter');
    await drawer.locator('.finding-error').waitFor();
    await picture(page, 'edit-wrong');
    await text.fill(before.replace(/^metadata:\n/m, 'metadata:\n  annotations:\n    note: tried from the page\n'));
    await text.press('Control+Enter');
    await drawer.locator('.diff-added, .diff-removed').first().waitFor();
    await picture(page, 'edit-preview');
    await drawer.getByRole('button', { name: 'Save' }).click();
    await page.locator('.follow, .ant-alert-success').first().waitFor();
    await picture(page, 'edit-saved');
  },

  /** Undo says what it means before it is done; then every device gets back what it had, and the history says who asked for that. */
  async undo(page) {
    await open(page, `/deployments/${GOOD}`);
    // A device has the newest revision, so there is something to take back.
    await phase(page, ['Soaking', 'Complete']);
    await page.locator('button:not([aria-disabled=true])', { hasText: 'Undo' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.waitFor();
    assert.match(await dialog.textContent(), /goes back to revision \d+/);
    await picture(page, 'undo');
    await dialog.getByRole('button', { name: 'Take it back' }).click();
    await dialog.waitFor({ state: 'hidden' });
    assert.equal(await phase(page, ['Rolled back']), 'Rolled back');
    await page.locator('.ant-table-row', { hasText: 'asked by' }).first().waitFor();
    await picture(page, 'undone');
  },

  /** Who only looks has no button that does anything. */
  async viewer(page) {
    await page.context().clearCookies();
    await signIn(page, VIEWER, VIEWER_PASSWORD);
    let changed = 0;
    page.on('request', (request) => {
      if (!['GET', 'HEAD'].includes(request.method())) changed += 1;
    });
    for (const path of [`/deployments/${GOOD}`, '/alerts', '/rules', '/receivers', '/silences']) {
      await open(page, path);
      const may = page.locator('button:not([aria-disabled=true])').filter({ hasText: /^(Pause|Resume|Undo…|Approve…|Edit|Delete|New \w+|Acknowledge|Silence|Send a test|End now)$/ });
      assert.equal(await may.count(), 0, `${path} has a button that a viewer may not use`);
      const disabled = page.locator('button[aria-disabled=true]');
      if ((await disabled.count()) > 0) await disabled.first().click({ force: true });
    }
    assert.equal(changed, 0, 'a viewer changed something');
    await picture(page, 'viewer');
  },

  /** The same in Chinese and in the dark, and alerts on a telephone. */
  async looks(page) {
    await choose(page, { language: 'zh', theme: 'dark' });
    await open(page, '/alerts');
    assert.match(await page.locator('h1').textContent(), /告警/);
    await picture(page, 'chinese-dark');
    await page.setViewportSize({ width: 390, height: 844 });
    await open(page, '/alerts');
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(wide <= 1, `wider than a telephone by ${wide} px`);
    await picture(page, 'telephone');
    await page.setViewportSize({ width: 1440, height: 900 });
    await choose(page, { language: 'en', theme: 'light' });
  },
};

const wanted = process.argv.slice(2);
const { page, faults, foreign, close } = await browser();
let failed = 0;
try {
  await signIn(page);
  await choose(page, { language: 'en', theme: 'light' });
  await page.reload();
  for (const [name, scenario] of wanted.length > 0 ? wanted.map((name) => [name, scenarios[name]]) : Object.entries(scenarios)) {
    try {
      await scenario(page);
      console.log(`ok    ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILS ${name}: ${error instanceof Error ? error.message : error}`);
      await page.screenshot({ path: `${SHOTS}/failed-${name}.png` }).catch(() => {});
      if (name === 'viewer') await signIn(page).catch(() => {});
    }
  }
} finally {
  await close();
}
for (const fault of [...faults, ...foreign.map((url) => `asked another host: ${url}`)]) console.log(`FAULT ${fault}`);
process.exit(failed + faults.length + foreign.length > 0 ? 1 : 0);
