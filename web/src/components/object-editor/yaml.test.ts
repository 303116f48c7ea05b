import { describe, expect, it } from 'vitest';

import { PAYLOADS } from '@/pages/text/payloads';
import { fromYaml, lineOf, LONGEST, partsOf, readFinding, toYaml } from './yaml';

const MANIFEST = `apiVersion: evenkeel.dev/v1alpha1
kind: Device
metadata:
  name: web-01
spec:
  type: Server
  parents:
    - sw-01
    - sw-02
  labels: {a/b: c}
`;

describe('texts of manifests', () => {
  it('shows what is written, and nothing that the engine adds', () => {
    const text = toYaml({ kind: 'Device', metadata: { name: 'a' }, spec: { type: 'Server' }, status: { health: 'Healthy' }, origin: { file: 'x' }, name: 'a' });
    expect(text).toBe('kind: Device\nmetadata:\n  name: a\nspec:\n  type: Server\n');
  });

  it('brings back what it wrote, whatever is in it', () => {
    for (const { text } of PAYLOADS) {
      const object = { kind: 'Device', metadata: { name: 'a', annotations: { note: text } }, spec: { [text]: [text] } };
      if (text.isWellFormed()) expect(fromYaml(toYaml(object)).value).toEqual(object);
    }
  });

  it('says where a text is no YAML', () => {
    expect(fromYaml('a: 1\nb: [\n').findings[0]?.line).toBeGreaterThan(1);
    expect(fromYaml('a: 1\na: 2\n').findings).toHaveLength(1);
    expect(fromYaml('- a\n').findings[0]?.detail).toBe('this is no object');
    expect(fromYaml('').findings).toHaveLength(1);
    expect(fromYaml('a: 1\n---\nb: 2\n').findings).toHaveLength(1);
  });

  it('does not blow up', () => {
    const bomb = ['a: &a [x, x, x, x, x, x, x, x, x]'];
    for (let level = 1; level < 12; level += 1) {
      const [name, before] = [String.fromCharCode(97 + level), String.fromCharCode(96 + level)];
      bomb.push(`${name}: &${name} [${Array(9).fill(`*${before}`).join(', ')}]`);
    }
    expect(fromYaml(bomb.join('\n')).value).toBeUndefined();
    expect(fromYaml('a: '.padEnd(LONGEST + 1, 'x')).value).toBeUndefined();
    expect(fromYaml('__proto__: {polluted: true}\n').value).toBeDefined();
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});

describe('places', () => {
  it('knows the line of a pointer and of a path', () => {
    expect(['/spec/type', 'spec.type', '/spec/parents/1', 'spec.parents[1]', '/spec/labels/a~1b', '/kind'].map((pointer) => lineOf(MANIFEST, pointer))).toEqual([6, 6, 9, 9, 10, 2]);
    expect(partsOf('spec.parents[0].x')).toEqual(['spec', 'parents', '0', 'x']);
  });

  it('takes the line of what something is missing in', () => {
    expect([lineOf(MANIFEST, '/spec/address'), lineOf(MANIFEST, '/spec/parents/7'), lineOf(MANIFEST, '/nothing'), lineOf('', '/a')]).toEqual([5, 7, undefined, undefined]);
  });

  it('reads findings in each form that they come in', () => {
    expect(readFinding('warning: spec.x is unused', MANIFEST)).toEqual({ severity: 'warning', detail: 'warning: spec.x is unused' });
    expect(readFinding({ severity: 'error', path: 'spec.type', message: 'no such type', help: 'try Server', line: 40 }, MANIFEST)).toEqual({
      severity: 'error',
      detail: 'no such type; try Server',
      pointer: 'spec.type',
      line: 6,
    });
    expect(readFinding({ pointer: '/kind', detail: 'x' }, MANIFEST)).toMatchObject({ line: 2, severity: 'error' });
    expect(readFinding(null, MANIFEST).severity).toBe('error');
  });
});
