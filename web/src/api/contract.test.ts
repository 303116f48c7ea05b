import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import openapiTS, { astToString, COMMENT_HEADER } from 'openapi-typescript';
import { expect, it } from 'vitest';

const DESCRIBED = new URL('../../../crates/api/openapi.json', import.meta.url);

// contract.ts compares its types with what the pages read; here only that they are those of the engine's description as it is now.
it.skipIf(!existsSync(DESCRIBED) && !process.env.CI)('the types of the API are generated from its description: npm run client', async () => {
  const written = readFileSync(fileURLToPath(new URL('./openapi.ts', import.meta.url)), 'utf8');
  const described = JSON.parse(readFileSync(DESCRIBED, 'utf8'));
  expect(written === `${COMMENT_HEADER}${astToString(await openapiTS(described))}`, 'src/api/openapi.ts is stale').toBe(true);
}, 60_000);
