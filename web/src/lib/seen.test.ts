import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PATIENCE, whileSeen } from './seen';

/** A page that is shown and hidden by hand, and what it holds open. */
function place(hidden = false) {
  const page = Object.assign(new EventTarget(), { hidden });
  const said: string[] = [];
  const stop = whileSeen(() => {
    said.push('open');
    return () => said.push('close');
  }, page as unknown as Document);
  const turn = (hidden: boolean) => {
    page.hidden = hidden;
    page.dispatchEvent(new Event('visibilitychange'));
  };
  return { said, stop, turn };
}

describe('what is open while a page is looked at', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('is closed once it is hidden for a while, and opened anew', () => {
    const { said, turn } = place();
    turn(true);
    vi.advanceTimersByTime(PATIENCE - 1);
    expect(said).toEqual(['open']);
    vi.advanceTimersByTime(1);
    expect(said).toEqual(['open', 'close']);
    vi.advanceTimersByTime(PATIENCE * 10);
    turn(false);
    expect(said).toEqual(['open', 'close', 'open']);
  });

  it('stays open over a look elsewhere', () => {
    const { said, turn } = place();
    for (let times = 0; times < 5; times++) {
      turn(true);
      vi.advanceTimersByTime(PATIENCE - 1);
      turn(false);
      vi.advanceTimersByTime(PATIENCE);
    }
    expect(said).toEqual(['open']);
  });

  it('is not opened in a tab that nobody has looked at yet', () => {
    const { said, turn } = place(true);
    vi.advanceTimersByTime(PATIENCE * 2);
    expect(said).toEqual([]);
    turn(false);
    expect(said).toEqual(['open']);
  });

  it('is closed in the end, once', () => {
    const { said, stop, turn } = place();
    turn(true);
    stop();
    vi.advanceTimersByTime(PATIENCE * 2);
    turn(false);
    expect(said).toEqual(['open', 'close']);
  });
});
