/** Milliseconds that a page may be hidden before what it holds open is closed: whoever looks elsewhere for a moment misses nothing. */
export const PATIENCE = 10_000;

type Page = Pick<Document, 'hidden' | 'addEventListener' | 'removeEventListener'>;

/**
 * Keeps something open while the page is looked at. Over HTTP/1.1 a browser has six connections to a host for all its tabs together, and
 * a feed holds one of them: tabs that nobody looks at would leave none for the others. `open` gives back what closes it.
 */
export function whileSeen(open: () => () => void, page: Page = document): () => void {
  let close: (() => void) | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const end = () => {
    close?.();
    close = undefined;
  };
  const look = () => {
    clearTimeout(timer);
    if (page.hidden) timer = setTimeout(end, PATIENCE);
    else close ??= open();
  };
  page.addEventListener('visibilitychange', look);
  look();
  return () => {
    page.removeEventListener('visibilitychange', look);
    clearTimeout(timer);
    end();
  };
}
