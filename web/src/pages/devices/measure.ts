import { type RefObject, useEffect, useState, useSyncExternalStore } from 'react';

const query = window.matchMedia('(max-width: 820px)');

function onChange(told: () => void): () => void {
  query.addEventListener('change', told);
  return () => query.removeEventListener('change', told);
}

/** A phone: cards instead of a table. */
export function useNarrow(): boolean {
  return useSyncExternalStore(onChange, () => query.matches);
}

/** Pixels of the head and the foot of the table. */
export const AROUND_ROWS = 40 + 26;
/** Those, and the edge of the page. */
const AROUND = AROUND_ROWS + 24;

/** How high the rows of a table may be, so that the page itself does not scroll. */
export function useHeight(place: RefObject<HTMLElement | null>): number {
  const [height, setHeight] = useState(480);
  useEffect(() => {
    const measure = () => {
      const top = place.current?.getBoundingClientRect().top;
      if (top !== undefined) setHeight(Math.max(240, Math.floor(window.innerHeight - top - AROUND)));
    };
    measure();
    window.addEventListener('resize', measure);
    const watch = new ResizeObserver(measure);
    if (place.current?.parentElement) watch.observe(place.current.parentElement);
    return () => {
      window.removeEventListener('resize', measure);
      watch.disconnect();
    };
  }, [place]);
  return height;
}
