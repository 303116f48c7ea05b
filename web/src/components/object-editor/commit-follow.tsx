/** What a write came to, followed until it is in force. */
import { BranchesOutlined, CheckCircleFilled, CloseCircleFilled, LoadingOutlined, SwapOutlined } from '@ant-design/icons';
import { Button, Typography } from 'antd';
import { useGet } from '@/api/query';
import type { Commit, Written } from '@/api/types';
import { useText } from '@/i18n/language';
import { visibleText } from '@/pages/text/visible';
import './follow.css';
import texts from './text';

const ICON = {
  waiting: <LoadingOutlined />,
  onBranch: <BranchesOutlined />,
  inForce: <CheckCircleFilled className="follow-good" />,
  superseded: <SwapOutlined />,
  refused: <CloseCircleFilled className="follow-bad" />,
};

/** Milliseconds between two questions about a commit that waits. */
const AGAIN = 2_000;
/** The same of one that somebody has to merge first. */
const SELDOM = 30_000;

/** Only web addresses become links. */
export const isWebAddress = (url: string | undefined): url is string => url !== undefined && /^https?:\/\//i.test(url);

/** The commit that a write came to, asked for until it is decided. */
export function useCommit(written: Written | undefined) {
  const id = written?.commit ?? '';
  return useGet<Commit>(`/commits/${encodeURIComponent(id)}`, undefined, {
    enabled: id !== '',
    refetchInterval: (query) => (query.state.data && query.state.data.state !== 'waiting' ? false : written?.followed === false ? SELDOM : AGAIN),
    retry: 2,
  });
}

export function CommitFollow({ written, onClose }: { written: Written; onClose?: () => void }) {
  const t = useText(texts);
  const id = written.commit ?? '';
  const commit = useCommit(written);
  if (id === '') return null;
  const state = commit.data?.state ?? 'waiting';
  const isAside = written.followed === false && state === 'waiting';
  const shown = isAside ? 'onBranch' : Object.hasOwn(ICON, state) ? state : 'waiting';
  return (
    <div className="follow" role="status">
      <span className="follow-icon">{ICON[shown]}</span>
      <div className="follow-words">
        <div>
          {t(shown, { commit: id.slice(0, 12) })} {written.branch && <Typography.Text type="secondary">{t('branch', { branch: visibleText(written.branch) })}</Typography.Text>}
        </div>
        {written.message && <Typography.Text type="secondary">{visibleText(written.message)}</Typography.Text>}
        {commit.data?.detail && !isAside && <Typography.Text type={shown === 'refused' ? 'danger' : 'secondary'}>{visibleText(commit.data.detail, true)}</Typography.Text>}
        {isAside && <Typography.Text type="warning">{t('ofBranch')}</Typography.Text>}
        {written.rewritten && <Typography.Text type="secondary">{t('rewritten')}</Typography.Text>}
        {commit.error && <Typography.Text type="warning">{t('unknown', { why: commit.error.message })}</Typography.Text>}
      </div>
      {isWebAddress(written.url) && (
        <Button size="small" href={written.url} target="_blank" rel="noopener noreferrer">
          {t('open')}
        </Button>
      )}
      {onClose && (
        <Button size="small" onClick={onClose}>
          {t('close')}
        </Button>
      )}
    </div>
  );
}
