import { describe, expect, it } from 'vitest';

import { countOf, groupAlerts, over, quietUntil, shelfOf, shelve } from './grouping';
import type { Alert } from './types';

let number = 0;
const alert = (device: string, more: Partial<Alert> = {}): Alert => {
  number += 1;
  return {
    id: `a${number}`,
    rule: 'unreachable',
    device,
    state: 'firing',
    severity: 'warning',
    summary: `${device} can't be reached`,
    activeAt: '2026-11-26T12:00:00Z',
    firedAt: '2026-11-26T12:02:00Z',
    suppressed: [],
    behind: 0,
    ...more,
  };
};
const behind = (device: string, root: string, more: Partial<Alert> = {}) =>
  alert(device, { root, severity: 'critical', suppressed: [{ kind: 'parent', by: root, text: `behind device/${root}` }], ...more });

describe('by root cause', () => {
  it('says one switch instead of all that is behind it', () => {
    const groups = groupAlerts([behind('web-01', 'sw-01'), behind('web-02', 'sw-01'), alert('sw-01', { behind: 14 }), alert('db-01', { severity: 'critical' })], 'root');
    expect(groups.map((group) => [group.key, group.heads.length, group.behind.length, group.behindCount, group.severity])).toEqual([
      ['db-01', 1, 0, 0, 'critical'],
      ['sw-01', 1, 2, 14, 'warning'],
    ]);
  });

  it('lets what is behind speak where nobody alerts on the root', () => {
    const [group] = groupAlerts([behind('web-01', 'sw-01'), behind('web-01', 'sw-01', { rule: 'web-down' })], 'root');
    expect(group).toMatchObject({ key: 'sw-01', heads: [], severity: 'critical', behindCount: 1 });
  });

  it('takes a device as its own root', () => {
    expect(groupAlerts([alert('a', { root: 'a' }), alert('a')], 'root')).toMatchObject([{ key: 'a', behind: [] }]);
  });
});

describe('other groupings', () => {
  it('puts the worst first, and what nobody looks after before what somebody does', () => {
    const seen = { by: 'ada', at: 'T', until: 'T', comment: '' };
    const list = [alert('a', { acknowledged: seen }), alert('b', { firedAt: '2026-11-26T11:00:00Z' }), alert('c', { severity: 'critical', rule: 'x' })];
    expect(groupAlerts(list, 'rule').map((group) => [group.key, group.heads.map((one) => one.device)])).toEqual([
      ['x', ['c']],
      ['unreachable', ['b', 'a']],
    ]);
    expect(groupAlerts([alert('a', { labels: { site: 'ams1' } }), alert('b')], 'site').map((group) => group.key).sort()).toEqual(['', 'ams1']);
    expect(groupAlerts([], 'root')).toEqual([]);
  });
});

describe('shelves', () => {
  it('keeps apart what is not said, but leaves with its root what is only behind it', () => {
    const silenced = alert('a', { suppressed: [{ kind: 'silence', text: 'silenced', until: '2026-11-26T14:00:00Z' }] });
    const both = behind('b', 'sw', { suppressed: [...behind('b', 'sw').suppressed, { kind: 'maintenance', text: 'm' }] });
    expect([silenced, both, behind('c', 'sw'), alert('d', { state: 'pending' }), alert('e', { state: 'resolved' })].map(shelfOf)).toEqual([
      'suppressed',
      'suppressed',
      'firing',
      'pending',
      'resolved',
    ]);
    expect(quietUntil(silenced)).toBe('2026-11-26T14:00:00Z');
    expect(quietUntil(both)).toBeUndefined();
    expect(shelve([silenced]).suppressed).toHaveLength(1);
    expect(countOf([alert('sw'), behind('c', 'sw'), silenced])).toBe(2);
  });
});

describe('what is over', () => {
  it('has each time once, the newest first', () => {
    const at = (hour: number) => ({ state: 'resolved' as const, resolvedAt: `2026-11-26T${hour}:00:00Z` });
    const [lately, earlier] = [alert('web-01', at(15)), alert('web-02', at(11))];
    const before = { ...lately, resolvedAt: '2026-11-26T10:00:00Z' };
    expect(over([lately], [lately, earlier, before])).toEqual([lately, earlier, before]);
  });
});
