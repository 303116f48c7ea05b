/** A button that silences: for whoever may mute alerts of devices, or write Silences. */
import type { ButtonProps } from 'antd';
import type { ReactNode } from 'react';
import { useCan } from '@/api/session';
import { Act } from '@/components';

interface Props extends Pick<ButtonProps, 'size' | 'type' | 'icon'> {
  onAct: () => void;
  children: ReactNode;
}

export function SilenceAct(props: Props) {
  // Any of these is enough; where it is about one device only, the engine says so when it is made.
  const bySilence = useCan('silence', 'Silence').allowed;
  const byEdit = useCan('edit', 'Silence').allowed;
  if (byEdit) return <Act verb="edit" kind="Silence" {...props} />;
  return <Act verb="silence" kind={bySilence ? 'Silence' : 'Device'} {...props} />;
}
