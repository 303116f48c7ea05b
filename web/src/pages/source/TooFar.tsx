import { DeleteOutlined, ExclamationCircleFilled } from '@ant-design/icons';
import { useDeed } from '@/api/query';
import type { Source } from '@/api/types';
import { Act, Sign } from '@/components';
import { useText } from '@/i18n/language';
import { Said } from '../text/Said';
import css from './source.module.css';
import texts from './text';

/** A commit that goes too far, how much it would touch, and the way to let it through. Which commit it is is bound to its id. */
export function TooFar({ tooFar }: { tooFar: NonNullable<Source['tooFar']> }) {
  const t = useText(texts);
  const admit = useDeed({ renews: ['/source', '/overview', '/commits'], said: () => t('admitted') });
  const { id, reason, deleted = 0, touched = 0 } = tooFar;
  return (
    <section className={css.tooFar} aria-label={t('tooFar')}>
      <header>
        <Sign tone="warn" sign={<ExclamationCircleFilled />} bare>{t('tooFar')}</Sign>
        <code><Said text={id} /></code>
      </header>
      <p><b><Said text={t('reason', { reason })} /></b> {t('tooFarHint')}</p>
      {deleted > 0 && <p><Sign tone="bad" sign={<DeleteOutlined />} bare>{t('deletes', { n: deleted })}</Sign></p>}
      {touched > 0 && <p>{t('touchesAll', { n: touched })}</p>}
      <div className={css.deeds}>
        <Act
          verb="approve"
          kind="Repository"
          type="primary"
          danger={deleted > 0}
          loading={admit.isPending}
          confirm={
            <>
              <Said text={t('admitAsk', { commit: id, reason })} />
              {deleted > 0 && <div>{t('admitDeletes', { n: deleted })}</div>}
            </>
          }
          onAct={() => admit.mutate({ path: '/source/admit', body: { id } })}
        >
          {t('admit')}
        </Act>
      </div>
    </section>
  );
}
