/** Asks before an object is deleted, shows what that takes out of the source, and follows the commit. */
import { Modal, Skeleton } from 'antd';
import { useState } from 'react';
import { useDeed } from '@/api/query';
import type { DryRun, Plural, Written } from '@/api/types';
import { Problem } from '@/components';
import { useText } from '@/i18n/language';
import { type Named, pathOf, shownName } from '@/lib/name';
import { useQuery } from '@tanstack/react-query';
import { call, type Refused } from '@/api/http';
import { CommitFollow, useCommit } from './commit-follow';
import { readUnified } from './diff';
import { DiffView } from './diff-view';
import { Findings } from './findings';
import texts from './text';
import { readFinding } from './yaml';

export interface Doomed {
  plural: Plural;
  name: Named;
}

/** `onDone`: it is gone, so whoever shows it goes elsewhere; where a commit takes it away, only once that is in force and has been read here. */
export function DeleteDialog({ doomed, onClose, onDone }: { doomed: Doomed | undefined; onClose: () => void; onDone?: () => void }) {
  const t = useText(texts);
  const [written, setWritten] = useState<Written>();
  const commit = useCommit(written);
  const path = doomed ? `/${doomed.plural}/${pathOf(doomed.name)}` : '';
  const preview = useQuery<DryRun | undefined, Refused>({
    queryKey: [`${path}#delete`],
    queryFn: () => call<DryRun | undefined>('DELETE', path, { query: { dryRun: true } }),
    enabled: doomed !== undefined && !written,
    gcTime: 0,
    staleTime: Number.POSITIVE_INFINITY,
  });
  const deed = useDeed<Written | undefined>({
    quiet: true,
    renews: doomed ? [`/${doomed.plural}`] : [],
    // A commit is followed in the dialog: that it is written does not mean yet that anything is gone.
    said: (answer) => (answer?.commit ? undefined : t('removed')),
    onDone: (answer) => {
      if (answer?.commit) return setWritten(answer);
      onClose();
      onDone?.();
    },
  });
  const close = () => {
    setWritten(undefined);
    deed.reset();
    onClose();
    if (written && commit.data?.state === 'inForce') onDone?.();
  };
  return (
    <Modal
      open={doomed !== undefined}
      title={doomed && t('removeAsk', { name: shownName(doomed.name) })}
      width={720}
      destroyOnHidden
      onCancel={close}
      onOk={() => (written ? close() : deed.mutate({ method: 'DELETE', path }))}
      okText={written ? t('close') : t('remove')}
      cancelText={t('cancel')}
      okButtonProps={{ danger: !written, loading: deed.isPending, disabled: !written && preview.isPending }}
      {...(written && { cancelButtonProps: { hidden: true } })}
    >
      {written ? (
        <CommitFollow written={written} />
      ) : (
        <div className="object-editor">
          {preview.isPending && <Skeleton active title={false} />}
          {preview.error && <Problem error={preview.error} />}
          {preview.data && (
            <>
              <p className="diff-nothing">{t('removing')}</p>
              <DiffView lines={readUnified(preview.data.diff ?? '')} {...(preview.data.file && { title: preview.data.file })} />
              <Findings findings={(preview.data.findings ?? []).map((one) => readFinding(one, ''))} />
            </>
          )}
          {deed.error && <Problem error={deed.error} />}
        </div>
      )}
    </Modal>
  );
}
