import { useEffect, useState } from 'react';

/** A value once it has been the same for a while: what is typed asks the engine only when the typing pauses. */
export function usePaused<T>(value: T, milliseconds = 250): T {
  const [paused, setPaused] = useState(value);
  useEffect(() => {
    const timer = window.setTimeout(() => setPaused(value), milliseconds);
    return () => window.clearTimeout(timer);
  }, [value, milliseconds]);
  return paused;
}
