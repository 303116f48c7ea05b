import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

/** Where the engine (or the mock of it) answers while the UI is being written. */
const engine = process.env.EVENKEEL_URL ?? 'http://127.0.0.1:4200';

export default defineConfig({
  plugins: [react()],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  server: { host: '127.0.0.1', port: Number(process.env.PORT ?? 5173), proxy: { '/api': { target: engine } } },
  preview: { host: '127.0.0.1', port: Number(process.env.PORT ?? 4173), proxy: { '/api': { target: engine } } },
  build: {
    target: 'es2023',
    // The page has no inline script (its CSP forbids them), so a polyfill of module preload must not be put into it either.
    modulePreload: { polyfill: false },
    // Nothing is put into `data:` addresses: the CSP allows files of our own only.
    assetsInlineLimit: 0,
    sourcemap: false,
    manifest: true,
  },
});
