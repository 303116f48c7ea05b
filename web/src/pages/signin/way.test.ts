import { expect, it } from 'vitest';
import { readWay } from './way';

it('reads tokens from behind the #, where they reach no server', () => {
  expect(readWay('#token=a%2Bb', '?next=/devices')).toEqual({ token: 'a+b', invitation: '', user: '', next: '/devices' });
  expect(readWay('#invitation=i&user=alice', '?token=not-this-one')).toEqual({ token: '', invitation: 'i', user: 'alice', next: null });
});
