// Roles, the audit log, users and tokens: what may not be done is not done, in the UI and behind it.
import { URL_OF_IT, browser, settled, signIn } from './browser.mjs';
import { end, must, scenario } from './steps.mjs';

const VIEWER = process.env.E2E_VIEWER ?? 'viewer';
const VIEWER_PASSWORD = process.env.E2E_VIEWER_PASSWORD ?? 'evenkeel';

const { page, context, foreign, faults, close } = await browser();
/** Asks the API as the browser does, with the session's cookie. */
const ask = (method, path, body, headers = {}) =>
  page.evaluate(
    async ([method, path, body, headers]) => {
      const session = await (await fetch('/api/v1/session')).json();
      const sent = { 'Content-Type': 'application/json', ...(method !== 'GET' && { 'X-CSRF-Token': session.csrf ?? '' }), ...headers };
      const response = await fetch(`/api/v1${path}`, { method, headers: sent, ...(body && { body: JSON.stringify(body) }) });
      const text = await response.text();
      return { status: response.status, body: text.startsWith('{') ? JSON.parse(text) : text };
    },
    [method, path, body, headers],
  );
const button = (name) => page.getByRole('button', { name });

try {
  await signIn(page);

  await scenario(page, 'whether somebody may do something is asked, and answered with the reason', async () => {
    await page.goto(`${URL_OF_IT}/roles`);
    await settled(page);
    await page.locator('form input').first().fill('nobody@example.com');
    await button(/^(Ask|查询)$/).click();
    await page.waitForURL((url) => url.searchParams.get('subject') === 'nobody@example.com');
    await page.locator('[role=status]').filter({ hasText: /\S/ }).first().waitFor();
  });

  await scenario(page, 'the audit log proves itself, and an entry shows what is hashed', async () => {
    await page.goto(`${URL_OF_IT}/audit`);
    await settled(page);
    const proof = await ask('GET', '/audit/proof');
    must(proof.status === 200 && proof.body.verified, `it is not proven: ${JSON.stringify(proof.body)}`);
    await page.getByText(/^(Verified|已验证)/).waitFor();
    const older = button(/^(Older|更早)/);
    if ((await older.count()) > 0) {
      await older.click();
      await page.locator('ol li button').nth(100).waitFor();
    }
    const entry = page.locator('ol li button').first();
    const index = (await entry.textContent()).replace('#', '');
    await entry.click();
    const json = JSON.parse(await page.locator('.ant-drawer pre').textContent());
    must(String(json.index) === index, `entry ${index} shows ${json.index}`);
    must(/^[0-9a-f]{64}$/.test(await page.locator('.ant-drawer code', { hasText: /^[0-9a-f]{64}$/ }).first().textContent()), 'its hash is not shown');
  });

  let token;
  const called = `e2e ${Date.now()}`;
  await scenario(page, 'a token is made, shown once, and may no more than it was given', async () => {
    await page.goto(`${URL_OF_IT}/tokens`);
    await settled(page);
    await button(/(New token|新建令牌)/).first().click();
    await page.locator('.ant-modal input[maxlength="128"]').fill(called);
    await page.locator('.ant-modal label').filter({ hasText: /(only this|仅限以下)/ }).click();
    await page.locator('.ant-modal-footer button').last().click();
    await button(/(I have kept it|我已保存)/).waitFor();
    token = await page.locator('.ant-modal input[readonly]:not([role=combobox])').inputValue();
    must(token.startsWith('ek_'), 'no token is shown');
    await button(/(I have kept it|我已保存)/).click();
    await page.getByText(called).waitFor();
    must(!(await page.content()).includes(token), 'it is still in the page');
    must(!page.url().includes(token), 'it is in the address');
  });

  await scenario(page, 'a token is revoked, and counts no more', async () => {
    const bearer = async () => (await fetch(`${URL_OF_IT}/api/v1/access`, { headers: { Authorization: `Bearer ${token}` } })).status;
    // The mock knows no tokens.
    const counts = process.env.E2E_MOCK !== '1';
    if (counts) must((await bearer()) === 200, 'it does not count though it was just made');
    await page.getByRole('button', { name: new RegExp(`(Revoke|吊销) ${called}`) }).click();
    await page.locator('.ant-popover:visible .ant-btn-dangerous').click();
    await page.getByText(called, { exact: true }).waitFor({ state: 'detached' });
    if (counts) must((await bearer()) === 401, 'it still counts');
  });

  const known = await ask('GET', `/users/${VIEWER}`);
  if (known.status === 404) await ask('POST', '/users', { name: VIEWER, displayName: 'Viewer', email: '', groups: [], password: VIEWER_PASSWORD });

  await context.clearCookies();
  await signIn(page, VIEWER, VIEWER_PASSWORD);

  await scenario(page, 'whoever only looks is refused: in the UI, and behind it', async () => {
    await page.goto(`${URL_OF_IT}/roles`);
    await settled(page);
    const add = button(/(New Role|新建角色)/);
    must((await add.getAttribute('aria-disabled')) === 'true', 'the button is not disabled');
    const role = { apiVersion: 'evenkeel.dev/v1alpha1', kind: 'Role', metadata: { name: 'mine' }, spec: { subjects: [{ user: VIEWER }], allow: [{ verbs: ['edit'] }] } };
    const written = await ask('POST', '/roles', role);
    must([403, 404].includes(written.status), `a Role can be written: ${written.status}`);
    const admitted = await ask('POST', '/source/admit', { id: '0' });
    must([403, 404].includes(admitted.status), `a commit can be admitted: ${admitted.status}`);
    const others = await ask('GET', '/users');
    must(others.status === 403, `users can be seen: ${others.status}`);
  });

  await scenario(page, 'the page of users says who may see it', async () => {
    await page.goto(`${URL_OF_IT}/users`);
    await page.getByText(/(Only administrators see users|仅管理员可查看用户)/).waitFor();
  });
} finally {
  await close();
}
end({ foreign, faults });
