import { Button, type ButtonProps, Popconfirm, Tooltip } from 'antd';
import type { ReactNode } from 'react';
import { useCan } from '@/api/session';
import type { Kind, Verb } from '@/api/types';
import { useText } from '@/i18n/language';
import texts from './text';

interface Props extends Omit<ButtonProps, 'onClick' | 'disabled'> {
  verb: Verb;
  kind: Kind | string;
  /** The object that it is done to, if it is one. */
  namespace?: string | undefined;
  name?: string | undefined;
  /** Another reason why it can't be done now. */
  cannot?: string | false | null | undefined;
  /** Asked before it is done. */
  confirm?: ReactNode;
  onAct: () => void;
}

/** A button for something that not everybody may do: disabled for those who may not, with the reason on hover and focus. */
export function Act({ verb, kind, namespace, name, cannot, confirm, onAct, children, ...button }: Props) {
  const t = useText(texts);
  const may = useCan(verb, kind, namespace, name);
  const why = may.allowed ? cannot || '' : may.reason;
  if (!may.allowed || cannot) {
    return (
      <Tooltip title={why}>
        {/* A disabled button takes no focus; this way the reason can be reached with the keyboard. */}
        <Button {...button} aria-disabled="true" className="ek-cannot" onClick={(event) => event.preventDefault()}>
          {children}
        </Button>
      </Tooltip>
    );
  }
  if (confirm) {
    return (
      <Popconfirm title={confirm} onConfirm={onAct} okText={t('ok2')} cancelText={t('cancel')}>
        <Button {...button}>{children}</Button>
      </Popconfirm>
    );
  }
  return <Button {...button} onClick={onAct}>{children}</Button>;
}
