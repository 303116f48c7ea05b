import { expect, it } from 'vitest';
import { readWay } from './way';

it('reads tokens from behind the #, where they reach no server', () => {
  expect(readWay('#token=a%2Bb', '?next=/devices')).toEqual({ token: 'a+b', invitation: '', user: '', next: '/devices', problem: '' });
  expect(readWay('#invitation=i&user=alice', '?token=not-this-one')).toEqual({ token: '', invitation: 'i', user: 'alice', next: null, problem: '' });
});

it('says why a sign-in did not work, in a short text without anything that can’t be seen', () => {
  expect(readWay('#problem=the%20provider%20did%20not%20let%20you%20in', '').problem).toBe('the provider did not let you in');
  expect(readWay('#problem=a%0Ab%E2%80%AEc%', '').problem).toBe('a␊b‹202E›c%');
  expect(readWay(`#problem=${'%F0%9F%98%80'.repeat(400)}`, '').problem).toBe('😀'.repeat(300));
  expect(readWay('', '?problem=no').problem).toBe('');
});
