import { renderToStaticMarkup } from 'react-dom/server';
import { MemoryRouter } from 'react-router';
import { describe, expect, it } from 'vitest';

import { ContentDiff } from '@/pages/deployment/content-diff';
import { Told } from '@/pages/rule/told';
import { PAYLOADS } from '@/pages/text/payloads';
import { diffLines, readUnified } from './diff';
import { DiffView } from './diff-view';
import { Findings } from './findings';

/** Elements and handlers that a payload would have made; our own marks are none of these. */
const MADE = /<(?:script|img|iframe|details|style|math|mglyph|form|textarea|title)\b|<[^>]*\son\w+=|<[^>]*\shref="(?:javascript|data):/i;

describe('hostile texts', () => {
  for (const { name, text } of PAYLOADS) {
    it(`are only text: ${name}`, () => {
      const file = (content: string) => ({ path: text, source: { Text: content }, mode: text, owner: text, group: text });
      const shown = [
        <DiffView key="1" lines={diffLines('a\n', `${text}\n`)} title={text} />,
        <DiffView key="2" lines={readUnified(`@@ -1 +1 @@\n-${text}\n+${text}!\n`)} />,
        <Findings key="3" findings={[{ severity: 'error', detail: text, pointer: text, line: 1 }]} onGo={() => {}} />,
        <ContentDiff key="4" from={{ files: [file('a')] }} to={{ files: [file(text)], packages: [{ Apt: { name: text, version: text } }] }} />,
        <Told key="5" notify={{ receivers: [text], routes: [{ receivers: [text], matchLabels: { [text]: text } }], groupBy: [text] }} />,
      ];
      for (const element of shown) expect(renderToStaticMarkup(<MemoryRouter>{element}</MemoryRouter>)).not.toMatch(MADE);
    });
  }

  it('would be found', () => {
    expect('<b><script>').toMatch(MADE);
    expect('<i onload="x">').toMatch(MADE);
    expect('<a href="javascript:x">').toMatch(MADE);
  });
});
