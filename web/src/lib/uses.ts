/** What a device uses just now, in numbers: from its series, or from the short text of lists (`cpu 12 %, mem 40 %, / 71 %`). */
import type { Device } from '@/api/types';

export interface Uses {
  cpu?: number;
  memory?: number;
  /** The fullest one. */
  disk?: { name: string; ratio: number };
  /** Why nothing is known. */
  problem?: string;
}

function ofText(text: string): Uses {
  if (text.startsWith('not known')) return { problem: text.replace(/^not known:\s*/, '') };
  const uses: Uses = {};
  for (const part of text.split(', ')) {
    const [, name = '', number = ''] = /^(.+) (\d+(?:\.\d+)?) %$/.exec(part) ?? [];
    if (name === 'cpu') uses.cpu = Number(number) / 100;
    else if (name === 'mem') uses.memory = Number(number) / 100;
    else if (name.startsWith('/') || /^[A-Z]:/.test(name)) uses.disk = { name, ratio: Number(number) / 100 };
  }
  return uses;
}

export function usesOf(uses: Device['uses']): Uses {
  if (!uses) return {};
  if (typeof uses === 'string') return ofText(uses);
  if (uses.problem) return { problem: uses.problem };
  const values = uses.usage?.values ?? {};
  const disks = Object.entries(values).flatMap(([series, ratio]) => {
    const name = /^disks\[(.+)\]\.ratio$/.exec(series)?.[1];
    return name ? [{ name, ratio }] : [];
  });
  const [fullest] = disks.sort((a, b) => b.ratio - a.ratio);
  return {
    ...(values['cpu.ratio'] !== undefined && { cpu: values['cpu.ratio'] }),
    ...(values['memory.ratio'] !== undefined && { memory: values['memory.ratio'] }),
    ...(fullest && { disk: fullest }),
  };
}
