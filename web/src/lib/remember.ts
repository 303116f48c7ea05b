/** What this browser remembers for its reader; nothing else is kept here, and no secret ever. */
export function recall(key: string): string | null {
  try {
    return localStorage.getItem(`evenkeel.${key}`);
  } catch {
    return null;
  }
}

export function remember(key: string, value: string): void {
  try {
    localStorage.setItem(`evenkeel.${key}`, value);
  } catch {
    // A browser that keeps nothing is a choice of its reader.
  }
}
