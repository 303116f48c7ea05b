/**
 * The CSP lets only style elements with this answer's nonce in. antd gives it to its own (ConfigProvider), but not to those that it makes
 * to measure a scrollbar, or to keep the page from scrolling behind a dialog. All of them come from our own files (`script-src 'self'`),
 * so each style element that is made here gets it.
 */
export function nonce(): string | undefined {
  return document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content || undefined;
}

export function giveStylesTheNonce(): void {
  const own = nonce();
  if (!own) return;
  const make = document.createElement.bind(document);
  document.createElement = ((name: string, options?: ElementCreationOptions) => {
    const made = make(name, options);
    if (made instanceof HTMLStyleElement) made.nonce = own;
    return made;
  }) as typeof document.createElement;
}
