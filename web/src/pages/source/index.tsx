import { SyncOutlined } from '@ant-design/icons';
import { useDeed, useGet } from '@/api/query';
import { useSession } from '@/api/session';
import type { Source as View } from '@/api/types';
import { Act, Fetched, Page } from '@/components';
import { useText } from '@/i18n/language';
import { Findings } from './Findings';
import { InForce } from './InForce';
import { PreviewPart } from './PreviewPart';
import { Repositories } from './Repositories';
import { TooFar } from './TooFar';
import texts from './text';

/** Where what is wanted comes from: what is in force, what waits, what is wrong, and what would come of another revision. */
export default function Source() {
  const t = useText(texts);
  const { mode } = useSession();
  const source = useGet<View>('/source');
  const sync = useDeed({ renews: ['/source', '/repositories'], said: () => t('syncing') });
  return (
    <Page
      title={t('title')}
      about={t('about')}
      actions={
        <Act verb="deploy" kind="Repository" type="primary" icon={<SyncOutlined />} loading={sync.isPending} onAct={() => sync.mutate({ path: '/source/sync' })}>
          {t('sync')}
        </Act>
      }
    >
      <Fetched of={source} lines={6}>
        {(view) => (
          <>
            {view.tooFar && <TooFar tooFar={view.tooFar} />}
            <InForce view={view} />
            {mode === 'kubernetes' && <Repositories />}
            <Findings findings={view.findings ?? []} />
          </>
        )}
      </Fetched>
      {mode !== 'folder' && <PreviewPart />}
    </Page>
  );
}
