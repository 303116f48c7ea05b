import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app';
import './layout/styles.css';
import { giveStylesTheNonce } from './lib/nonce';

giveStylesTheNonce();

const root = document.getElementById('root');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
