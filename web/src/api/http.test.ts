import { describe, expect, it } from 'vitest';
import { address } from './http';

describe('addresses', () => {
  it('leave out what is empty, and join lists', () => {
    expect(address('/devices', { q: '', limit: 100, health: ['Degraded', 'Unknown'], type: [], cursor: null, dryRun: false, sort: undefined })).toBe('/api/v1/devices?limit=100&health=Degraded%2CUnknown');
    expect(address('/session')).toBe('/api/v1/session');
  });

  it('give each series by itself: one may have a comma', () => {
    expect(address('/samples', { series: ['disks[/a,b].ratio', 'cpu.ratio'] })).toBe('/api/v1/samples?series=disks%5B%2Fa%2Cb%5D.ratio&series=cpu.ratio');
  });

  it('let no value change what is asked for', () => {
    expect(address('/alerts', { device: 'a&suppressed=true#x' })).toBe('/api/v1/alerts?device=a%26suppressed%3Dtrue%23x');
  });
});
