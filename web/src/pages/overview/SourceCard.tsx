import { BranchesOutlined, CheckCircleFilled, HourglassOutlined, WarningFilled } from '@ant-design/icons';
import { Link } from 'react-router';
import type { Overview } from '@/api/types';
import { Part, Sign, Time } from '@/components';
import { useText } from '@/i18n/language';
import texts from './text';

/** Which commit is in force, and whether something is wrong with its source. */
export function SourceCard({ of }: { of: Overview['source'] }) {
  const t = useText(texts);
  if (!of) return null;
  const author = (of.author ?? '').replace(/\s*<[^>]*>/, '');
  return (
    <Part title={t('source')} extra={<Link to="/source">{t('toSource')}</Link>}>
      <div className="ek-source">
        <span className="ek-source-url"><BranchesOutlined aria-hidden="true" /> {of.url}</span>
        {of.inForce && (
          <span className="ek-row-line">
            <Sign tone="good" sign={<CheckCircleFilled />}>{t('inForce')}</Sign>
            <code title={of.inForce}>{of.inForce.slice(0, 10)}</code>
          </span>
        )}
        <span className="ek-row-more">{author && <span>{author}</span>}{of.checkedAt && <span>{t('checked')} <Time at={of.checkedAt} relative /></span>}</span>
        {of.problem && <span><Sign tone="bad" sign={<WarningFilled />}>{t('sourceProblem')}</Sign> <span className="ek-pre">{of.problem}</span></span>}
        {of.tooFar && <span><Sign tone="warn" sign={<HourglassOutlined />}>{t('tooFar')}</Sign> <span className="ek-dim">{of.tooFar.reason}</span></span>}
        {(of.findings?.length ?? 0) > 0 && <Link to="/source"><Sign tone="warn" sign={<WarningFilled />}>{t('findings', { n: of.findings?.length ?? 0 })}</Sign></Link>}
      </div>
    </Part>
  );
}
