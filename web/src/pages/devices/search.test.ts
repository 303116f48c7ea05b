import { describe, expect, it } from 'vitest';
import { asked, orderOf, selectorWith, sortOf, valuesOf } from './search';

const facets = { health: [], update: [], site: [], type: [] };

describe('the list of devices', () => {
  it('asks for sites by the selector', () => {
    expect([selectorWith('role=web', []), selectorWith('', ['ams1']), selectorWith('role=web', ['ams1', 'fra1'])]).toEqual(['role=web', 'site=ams1', 'role=web,site in (ams1,fra1)']);
    expect(asked({ q: 'a', selector: 'x=y', sort: '-name', facets: { ...facets, site: ['ams1'], health: ['Unknown'] } })).toMatchObject({ q: 'a', labelSelector: 'x=y,site=ams1', sort: '-name', health: ['Unknown'] });
  });

  it('sorts by what the engine sorts by', () => {
    expect([sortOf('health', 'descend'), sortOf('health', 'ascend'), sortOf('health', null), sortOf('cpu', 'descend'), sortOf('disk', 'ascend')]).toEqual(['-health', 'health', '', '-cpu', '']);
    expect([orderOf('-name', 'name'), orderOf('name', 'name'), orderOf('name', 'health')]).toEqual(['descend', 'ascend', null]);
  });

  it('offers what there is, and keeps what is chosen', () => {
    expect(valuesOf({ ams1: 2, fra1: 9 }, ['gone'])).toEqual([['fra1', 9], ['ams1', 2], ['gone', 0]]);
    expect(valuesOf({ Healthy: 1 }, [], ['Unreachable', 'Healthy'])).toEqual([['Healthy', 1]]);
    expect(valuesOf(undefined, [])).toEqual([]);
  });
});
