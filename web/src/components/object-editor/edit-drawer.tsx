/** The editor in a drawer, for any object of any kind: reads it anew with its ETag, so that nobody's change is overwritten unseen. */
import { Drawer, Skeleton } from 'antd';
import { useEffect, useState } from 'react';
import { Refused, request } from '@/api/http';
import type { Plural, Written } from '@/api/types';
import { Problem } from '@/components';
import { useText } from '@/i18n/language';
import { type Named, pathOf, shownName } from '@/lib/name';
import { ObjectEditor } from './object-editor';
import texts from './text';

/** What is edited: an object that is there, or the text that a new one begins with. */
export type Editing =
  | { plural: Plural; name: Named; /** What is changed in it before it is shown. */ change?: (object: object) => object }
  | { plural: Plural; kind: string; template: object | string };

interface Props {
  editing: Editing | undefined;
  onClose: () => void;
  onDone?: (written: Written) => void;
}

interface Read {
  object: object;
  etag: string | null;
}

export function EditDrawer({ editing, onClose, onDone }: Props) {
  const t = useText(texts);
  const title = !editing ? '' : 'name' in editing ? t('editing', { name: shownName(editing.name) }) : t('creating', { kind: editing.kind });
  return (
    <Drawer open={editing !== undefined} onClose={onClose} title={title} size={880} destroyOnHidden>
      {editing && ('name' in editing ? <Existing editing={editing} onClose={onClose} {...(onDone && { onDone })} /> : <ObjectEditor plural={editing.plural} initial={editing.template} onCancel={onClose} {...(onDone && { onDone })} />)}
    </Drawer>
  );
}

function Existing({ editing, onClose, onDone }: { editing: Extract<Editing, { name: Named }>; onClose: () => void; onDone?: (written: Written) => void }) {
  const t = useText(texts);
  const [read, setRead] = useState<Read>();
  const [error, setError] = useState<Error>();
  const path = `/${editing.plural}/${pathOf(editing.name)}`;
  // Read once and by itself: what somebody is typing in must not change under their hands.
  useEffect(() => {
    const stop = new AbortController();
    request('GET', path, { signal: stop.signal })
      .then(async (response) => setRead({ object: (await response.json()) as object, etag: response.headers.get('ETag') }))
      .catch((problem: unknown) => {
        if (!stop.signal.aborted) setError(problem instanceof Refused || problem instanceof Error ? problem : new Error(String(problem)));
      });
    return () => stop.abort();
  }, [path]);
  if (error) return <Problem error={error} />;
  if (!read) return <Skeleton active aria-label={t('reading')} />;
  return <ObjectEditor plural={editing.plural} name={editing.name} initial={editing.change ? editing.change(read.object) : read.object} {...(read.etag && { etag: read.etag })} onCancel={onClose} {...(onDone && { onDone })} />;
}
