import { describe, expect, it } from 'vitest';

import { differences, itemsOf, summaryOf } from './content';
import type { Content } from './types';

const apt = (name: string, version: string) => ({ Apt: { name, version, hold: false, allow_downgrade: false, replace_conffiles: false } });
const file = (path: string, source: Record<string, unknown>) => ({ path, source, mode: '0644', owner: 'root', group: 'root' });

const old: Content = { packages: [apt('nginx', '1.22'), apt('curl', '8')], files: [file('/etc/a', { Text: 'one\n' })], services: [] };
const next: Content = {
  packages: [apt('nginx', '1.24')],
  files: [file('/etc/a', { Text: 'two\n' }), file('/etc/key', { Secret: { name: 's', key: 'k' } })],
  services: [{ unit: 'nginx.service', after: 'Restart' }],
  reboot: 'Never',
};

describe('contents', () => {
  it('tells what was added, changed and removed', () => {
    expect(differences(old, next).map((one) => [one.kind, one.key, one.from?.value, one.to?.value])).toEqual([
      ['changed', 'apt nginx', '1.22', '1.24'],
      ['changed', 'file /etc/a', '0644 root:root', '0644 root:root'],
      ['added', 'file /etc/key', undefined, 'secret s/k 0644 root:root'],
      ['added', 'service nginx.service', undefined, 'Restart'],
      ['removed', 'apt curl', '8', undefined],
    ]);
    expect(differences(next, next)).toEqual([]);
    expect(differences(undefined, old)).toHaveLength(3);
  });

  it('says in a few words what it is', () => {
    expect(summaryOf(next)).toBe('nginx 1.24, 2 files');
    expect(summaryOf({ packages: [{ Archive: { into: '/opt/x', sha256: 'a'.repeat(64), url: 'https://h/x' } }] })).toBe(`/opt/x ${'a'.repeat(12)}`);
    expect(itemsOf({})).toEqual([]);
  });
});
