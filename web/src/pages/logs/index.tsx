import { Tabs } from 'antd';
import { Page } from '@/components';
import { useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import { useFilters } from './filters';
import { Kinds } from './Kinds';
import { Lines } from './Lines';
import { SendersView } from './Senders';
import texts from './text';

/** Lines of logs, what kinds of them there are, and who sends them. */
export default function Logs() {
  const t = useText(texts);
  const [view] = useParam('view', 'lines');
  const [, set] = useFilters();
  const shown = view === 'kinds' || view === 'senders' ? view : 'lines';
  return (
    <Page title={t('title')}>
      <Tabs
        activeKey={shown}
        onChange={(view) => set({ view })}
        destroyOnHidden
        items={[
          { key: 'lines', label: t('lines'), children: <Lines /> },
          { key: 'kinds', label: t('kinds'), children: <Kinds /> },
          { key: 'senders', label: t('senders'), children: <SendersView /> },
        ]}
      />
    </Page>
  );
}
