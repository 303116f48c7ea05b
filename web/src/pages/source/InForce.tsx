import { CheckCircleFilled, SafetyCertificateOutlined, WarningFilled } from '@ant-design/icons';
import { Alert, Typography } from 'antd';
import { useSession } from '@/api/session';
import type { Source } from '@/api/types';
import { Part, Sign, Time } from '@/components';
import { useText } from '@/i18n/language';
import { Said } from '../text/Said';
import { shortCommit } from './model';
import css from './source.module.css';
import texts from './text';

/** The revision in force, and whether its source is followed. */
export function InForce({ view }: { view: Source }) {
  const t = useText(texts);
  const { mode } = useSession();
  return (
    <Part
      title={t('inForce')}
      extra={view.problem ? <Sign tone="bad" sign={<WarningFilled />}>{t('problem')}</Sign> : <Sign tone="good" sign={<CheckCircleFilled />}>{t('ok')}</Sign>}
    >
      {view.problem && <Alert type="error" showIcon title={t('problem')} description={<><p><Said text={view.problem} lines /></p><p>{t('problemHint')}</p></>} className={css.alert} />}
      <dl className={css.facts}>
        <div className={css.main}>
          <dt>{t('commit')}</dt>
          <dd>
            {view.inForce ? (
              <Typography.Text code copyable={{ text: view.inForce, tooltips: [t('copyCommit')] }} className={css.commit}>
                <Said text={shortCommit(view.inForce)} />
              </Typography.Text>
            ) : (
              <span className="ek-dim">{t('nothingYet')}</span>
            )}
          </dd>
        </div>
        <div>
          <dt>{t('author')}</dt>
          <dd>{view.author ? <Said text={view.author} /> : <span className="ek-dim">–</span>}</dd>
        </div>
        {mode === 'git' && view.inForce && (
          <div>
            <dt>{t('signature')}</dt>
            <dd>{view.signer ? <><SafetyCertificateOutlined aria-hidden className={css.verified} /> <Said text={t('signed', { key: view.signer })} /></> : <span className="ek-dim">{t('notVerified')}</span>}</dd>
          </div>
        )}
        <div>
          <dt>{t('checked')}</dt>
          <dd><Time at={view.checkedAt} relative /></dd>
        </div>
        <div className={css.wide}>
          <dt>{t('url')}</dt>
          <dd>{view.url === 'kubernetes' ? t('cluster') : <code><Said text={view.url} /></code>}{mode === 'folder' && <span className="ek-dim"> · {t('directory')}</span>}</dd>
        </div>
      </dl>
    </Part>
  );
}
