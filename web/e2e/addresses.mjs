// Where each page is; those of one thing take the first that there is.
async function first(page, path) {
  return page.evaluate(async (asked) => {
    const response = await fetch(`/api/v1${asked}`);
    return response.ok ? (await response.json()).items?.[0] : undefined;
  }, path);
}

export async function addresses(page) {
  const called = (one) => `${one.metadata.namespace ?? 'default'}/${one.metadata.name}`;
  const [degraded, any, deployment, alert, rule] = [
    await first(page, '/devices?health=Degraded&limit=100&q=web'), await first(page, '/devices?limit=1'), await first(page, '/deployments?q=nginx&limit=1') ?? await first(page, '/deployments?limit=1'), await first(page, '/alerts?limit=1'), await first(page, '/alertrules?limit=1'),
  ];
  const device = degraded ?? any;
  return {
    overview: '/',
    devices: '/devices',
    ...(device && { device: `/devices/${called(device)}` }),
    ...(device && { 'device-logs': `/devices/${called(device)}?tab=logs`, 'device-audit': `/devices/${called(device)}?tab=audit`, 'device-explain': `/devices/${called(device)}?tab=explain` }),
    deployments: '/deployments',
    ...(deployment && { deployment: `/deployments/${called(deployment)}` }),
    alerts: '/alerts',
    ...(alert && { alert: `/alerts/${encodeURIComponent(alert.id)}` }),
    rules: '/rules',
    ...(rule && { rule: `/rules/${called(rule)}` }),
    receivers: '/receivers', silences: '/silences', logs: '/logs', topology: '/topology', source: '/source', audit: '/audit', roles: '/roles', users: '/users', tokens: '/tokens',
  };
}
