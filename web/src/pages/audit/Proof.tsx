import { CopyOutlined, DownloadOutlined, SafetyCertificateFilled, WarningFilled } from '@ant-design/icons';
import { Button, Collapse, Skeleton, Typography } from 'antd';
import { useGet } from '@/api/query';
import type { AuditProof } from '@/api/types';
import { Problem, Sign } from '@/components';
import { useText } from '@/i18n/language';
import { Said } from '../text/Said';
import css from './audit.module.css';
import texts from './text';

const COMMANDS = 'evenkeel audit export --file log.jsonl\nevenkeel audit verify log.jsonl --key audit.pub --checkpoint kept.note';

/** Whether the log proves itself, what it is proved by, and how to do it without us. */
export function Proof() {
  const t = useText(texts);
  // The whole log is gone through for it: not at each change, only when the page opens or somebody asks.
  const proof = useGet<AuditProof>('/audit/proof', undefined, { staleTime: 600_000, refetchOnWindowFocus: false });
  if (proof.error && !proof.data) return <Problem error={proof.error} retry={() => void proof.refetch()} />;
  if (!proof.data) return <div className={css.proof}><Skeleton active title={false} paragraph={{ rows: 1 }} /></div>;
  const { size, root, checkpoint, verified, problem } = proof.data;
  return (
    <section className={verified ? css.proof : `${css.proof} ${css.broken}`} aria-label={t('proof')}>
      <Collapse
        ghost
        defaultActiveKey={verified ? [] : ['how']}
        items={[
          {
            key: 'how',
            label: (
              <span className={css.head}>
                {verified ? (
                  <Sign tone="good" sign={<SafetyCertificateFilled />} bare>{t('verified', { n: size })}</Sign>
                ) : (
                  <Sign tone="bad" sign={<WarningFilled />} bare>{t('unverified')}</Sign>
                )}
                <code className={css.root} title={`${t('root')}: ${root}`}>{root.slice(0, 16)}…</code>
              </span>
            ),
            children: (
              <div className={css.inside}>
                {problem && <p className={css.problem}><Said text={problem} lines /></p>}
                {!verified && <p>{t('unverifiedHint')}</p>}
                <dl>
                  <div><dt>{t('size')}</dt><dd className="ek-num">{size}</dd></div>
                  <div><dt>{t('root')}</dt><dd><Typography.Text code copyable={{ text: root }}>{root}</Typography.Text></dd></div>
                </dl>
                <h3>{t('checkpoint')}</h3>
                <pre className={css.json}><Said text={checkpoint} lines /></pre>
                <p className="ek-dim">{t('keep')}</p>
                <h3>{t('how')}</h3>
                <pre className={css.json}>{COMMANDS}</pre>
                <p className="ek-dim">{t('howHint')}</p>
                <div className={css.deeds}>
                  <Button size="small" icon={<CopyOutlined />} onClick={() => void navigator.clipboard.writeText(checkpoint)}>{t('copy')}</Button>
                  <Button size="small" icon={<DownloadOutlined />} onClick={() => save(checkpoint)}>{t('saveCheckpoint')}</Button>
                  <Button size="small" loading={proof.isFetching} onClick={() => void proof.refetch()}>{t('again')}</Button>
                </div>
              </div>
            ),
          },
        ]}
      />
    </section>
  );
}

/** Hands a checkpoint to the reader as a file. */
function save(checkpoint: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([checkpoint], { type: 'text/plain' }));
  link.download = 'kept.note';
  link.click();
  URL.revokeObjectURL(link.href);
}
