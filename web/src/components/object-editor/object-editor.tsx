/**
 * Makes or changes an object as YAML: what is wrong with it is said by the engine, what would happen is shown before
 * it is done, and what was done is followed until it is in force.
 */
import { useQueryClient } from '@tanstack/react-query';
import { Alert, Button, Checkbox, Input, Space, Typography } from 'antd';
import { useRef, useState } from 'react';
import { call, deedKey, Refused } from '@/api/http';
import { renew } from '@/api/query';
import { useSession } from '@/api/session';
import type { DryRun, Plural, Written } from '@/api/types';
import { useText } from '@/i18n/language';
import { type Named, pathOf } from '@/lib/name';
import { visibleText } from '@/pages/text/visible';
import { CodeArea, type CodeAreaHandle } from './code-area';
import { CommitFollow } from './commit-follow';
import { readUnified } from './diff';
import { DiffView } from './diff-view';
import { Findings } from './findings';
import { type Finding, fromYaml, readFinding, toYaml } from './yaml';
import texts from './text';

interface Props {
  plural: Plural;
  /** What is changed; nothing: a new object. */
  name?: Named;
  /** The object as it is, or the text to begin with. */
  initial: object | string;
  /** The ETag that it had, so that nobody's change is overwritten unseen. */
  etag?: string;
  onCancel?: () => void;
  onDone?: (written: Written) => void;
}

/** Characters of a commit's first line that the engine takes. */
const SAYING = 200;

interface Looked {
  at: string;
  run: DryRun;
}

export function ObjectEditor({ plural, name, initial, etag, onCancel, onDone }: Props) {
  const t = useText(texts);
  const queries = useQueryClient();
  const area = useRef<CodeAreaHandle>(null);
  const [edited, setEdited] = useState(() => (typeof initial === 'string' ? initial : toYaml(initial)));
  const [looked, setLooked] = useState<Looked>();
  const [findings, setFindings] = useState<Finding[]>([]);
  const [moved, setMoved] = useState<string>();
  const [problem, setProblem] = useState<string>();
  const [busy, setBusy] = useState<'look' | 'save'>();
  const [written, setWritten] = useState<Written>();
  const [saying, setSaying] = useState('');
  // In a cluster: others manage fields that would change, and these may be taken over from them.
  const [held, setHeld] = useState(false);
  const [force, setForce] = useState(false);
  const { mode } = useSession();
  const isGit = mode === 'git';
  const key = useRef(deedKey());

  const send = <T,>(value: unknown, dryRun: boolean): Promise<T> => {
    const path = name ? `/${plural}/${pathOf(name)}` : `/${plural}`;
    return call<T>(name ? 'PUT' : 'POST', path, {
      body: value,
      query: { dryRun, force, message: dryRun ? undefined : saying.trim() },
      ...(etag && name ? { ifMatch: etag } : {}),
      ...(dryRun ? {} : { idempotencyKey: key.current }),
    });
  };
  const fail = (error: unknown) => {
    if (!(error instanceof Refused)) throw error;
    const errors = error.problem.errors ?? [];
    setFindings(errors.map((one) => readFinding(one, edited)));
    if (error.status === 409 && !error.problem.diff) {
      setProblem(error.message);
      setHeld(mode === 'kubernetes');
    } else if (error.status === 409 || error.status === 412) setMoved(error.problem.diff ?? '');
    else if (error.status === 0) setProblem(t('noAnswer'));
    else if (errors.length === 0) setProblem(error.message);
  };
  const act = async (what: 'look' | 'save') => {
    const parsed = fromYaml(edited);
    setFindings(parsed.findings);
    setProblem(undefined);
    setMoved(undefined);
    if (!parsed.value || busy) return;
    setBusy(what);
    try {
      if (what === 'look') {
        const run = await send<DryRun>(parsed.value, true);
        setLooked({ at: edited, run });
        setFindings((run.findings ?? []).map((one) => readFinding(one, edited)));
      } else {
        const answer = (await send<Written | undefined>(parsed.value, false)) ?? {};
        setWritten(answer);
        renew(queries, [`/${plural}`]);
        onDone?.(answer);
      }
    } catch (error) {
      // A trial that is refused for what is wrong shows what it would become all the same.
      const diff = error instanceof Refused && error.status === 422 ? error.problem.diff : undefined;
      if (what === 'look') setLooked(diff === undefined ? undefined : { at: edited, run: { diff, findings: [] } });
      fail(error);
    } finally {
      setBusy(undefined);
    }
  };

  if (written) {
    return written.commit ? <CommitFollow written={written} {...(onCancel && { onClose: onCancel })} /> : <Alert type="success" showIcon title={written.message ? visibleText(written.message) : t('saved')} />;
  }
  const isStale = looked !== undefined && looked.at !== edited;
  const isWrong = findings.some((finding) => finding.severity === 'error');
  return (
    <div className="object-editor">
      <CodeArea
        ref={area}
        label={t('label')}
        value={edited}
        findings={findings}
        onChange={(value) => {
          setEdited(value);
          // Another text is another deed.
          key.current = deedKey();
        }}
        onCommit={() => void act('look')}
      />
      <Findings findings={findings} onGo={(line) => area.current?.goTo(line)} />
      {problem && <Alert type="error" showIcon title={visibleText(problem, true)} />}
      {held && (
        <Checkbox
          checked={force}
          onChange={(event) => {
            setForce(event.target.checked);
            setLooked(undefined);
          }}
        >
          {t('takeOver')}
        </Checkbox>
      )}
      {moved !== undefined && (
        <div role="alert">
          <Alert type="warning" showIcon title={moved ? t('moved') : t('movedPlain')} />
          {moved && <DiffView lines={readUnified(moved)} />}
        </div>
      )}
      {looked && (
        <section aria-label={t('wouldBe')} className={isStale ? 'object-editor-stale' : undefined}>
          <Typography.Title level={5}>{t('wouldBe')}</Typography.Title>
          {isStale && <Typography.Text type="warning">{t('stale')}</Typography.Text>}
          {looked.run.rewritten && <Alert type="warning" showIcon title={t('wouldRewrite')} />}
          <DiffView lines={readUnified(looked.run.diff)} {...(looked.run.file && { title: visibleText(looked.run.file) })} />
        </section>
      )}
      {isGit && looked && !isStale && <Input aria-label={t('saying')} placeholder={t('saying')} maxLength={SAYING} value={saying} onChange={(event) => setSaying(event.target.value)} />}
      <Space wrap className="object-editor-buttons">
        <Button type={looked && !isStale ? 'default' : 'primary'} loading={busy === 'look'} onClick={() => void act('look')} title={t('previewHint')}>
          {t('preview')}
        </Button>
        <Button
          type={looked && !isStale ? 'primary' : 'default'}
          disabled={!looked || isStale || isWrong}
          loading={busy === 'save'}
          onClick={() => void act('save')}
          title={!looked || isStale ? t('saveHint') : undefined}
        >
          {t('save')}
        </Button>
        {onCancel && <Button onClick={onCancel}>{t('cancel')}</Button>}
      </Space>
    </div>
  );
}
