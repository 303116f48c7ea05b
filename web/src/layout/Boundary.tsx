import { Button } from 'antd';
import { Component, type ErrorInfo, type ReactNode } from 'react';
import { Nothing } from '@/components/Nothing';
import words from '@/components/text';
import { useText } from '@/i18n/language';

interface Props {
  children: ReactNode;
  /** Another one of these and the fault is forgotten: the address has changed. */
  at?: string;
}

/** What goes wrong while a page is drawn stays in that page, and is said. */
export class Boundary extends Component<Props, { error?: Error; at?: string | undefined }> {
  override state: { error?: Error; at?: string | undefined } = {};

  static getDerivedStateFromError(error: unknown) {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }

  static getDerivedStateFromProps(props: Props, state: { error?: Error; at?: string | undefined }) {
    return state.at === props.at ? null : { at: props.at, error: undefined };
  }

  override componentDidCatch(error: Error, info: ErrorInfo) {
    console.error(error, info.componentStack);
  }

  override render() {
    return this.state.error ? <Broken error={this.state.error} /> : this.props.children;
  }
}

function Broken({ error }: { error: Error }) {
  const t = useText(words);
  return (
    <div role="alert">
      <Nothing
        title={t('broken')}
        hint={<>{t('brokenHint')}<br /><code className="ek-pre">{error.message}</code></>}
        action={<Button type="primary" onClick={() => window.location.reload()}>{t('reload')}</Button>}
      />
    </div>
  );
}
