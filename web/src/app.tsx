import { QueryClientProvider } from '@tanstack/react-query';
import { BrowserRouter } from 'react-router';
import { client } from './api/query';
import { LanguageProvider } from './i18n/language';
import { Boundary } from './layout/Boundary';
import { Door } from './layout/Door';
import { LookProvider } from './layout/look';

/** From the outside in: language, look, what was read, the address, and whoever stands at the door. */
export function App() {
  return (
    <LanguageProvider>
      <LookProvider>
        <QueryClientProvider client={client}>
          <BrowserRouter>
            <Boundary>
              <Door />
            </Boundary>
          </BrowserRouter>
        </QueryClientProvider>
      </LookProvider>
    </LanguageProvider>
  );
}
