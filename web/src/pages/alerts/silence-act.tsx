/** A button that makes, changes or deletes a Silence: for whoever may mute alerts of devices, or write Silences. */
import type { ComponentProps } from 'react';
import { useCan } from '@/api/session';
import { Act } from '@/components';
import type { Named } from '@/lib/name';

interface Props extends Omit<ComponentProps<typeof Act>, 'verb' | 'kind' | 'namespace' | 'name'> {
  /** The Silence that it is done to, if there is one already. */
  named?: Named;
}

export function SilenceAct({ named, ...props }: Props) {
  // Any of these is enough; whether all the devices that it is about are theirs to mute, the engine says when it is done.
  const byEdit = useCan('edit', 'Silence', named?.namespace, named?.name).allowed;
  const bySilence = useCan('silence', 'Silence', named?.namespace, named?.name).allowed;
  if (byEdit) return <Act verb="edit" kind="Silence" {...named} {...props} />;
  if (bySilence) return <Act verb="silence" kind="Silence" {...named} {...props} />;
  return <Act verb="silence" kind="Device" {...props} />;
}
