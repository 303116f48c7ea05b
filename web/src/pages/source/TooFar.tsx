import { ExclamationCircleFilled } from '@ant-design/icons';
import { Button } from 'antd';
import { useDeed } from '@/api/query';
import { Act, Sign } from '@/components';
import { useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import { Said } from '../text/Said';
import { Devices } from './Devices';
import { shortCommit, type TooFarView } from './model';
import css from './source.module.css';
import texts from './text';

/** A commit that goes too far, what it would touch, and the way to let it through. */
export function TooFar({ tooFar }: { tooFar: TooFarView }) {
  const t = useText(texts);
  const [, setRevision] = useParam('revision');
  const admit = useDeed({ renews: ['/source', '/overview', '/commits'], said: () => t('admitted') });
  const { deleted = [], touched = [], of = 0 } = tooFar.reach ?? {};
  const commit = tooFar.commit ? shortCommit(tooFar.commit) : tooFar.id;
  return (
    <section className={css.tooFar} aria-label={t('tooFar')}>
      <header>
        <Sign tone="warn" sign={<ExclamationCircleFilled />} bare>{t('tooFar')}</Sign>
        <code><Said text={commit} /></code>
      </header>
      <p><b><Said text={t('reason', { reason: tooFar.reason })} /></b> {t('tooFarHint')}</p>
      {deleted.length > 0 && <Devices title={t('deletes', { n: deleted.length })} devices={deleted} isBad />}
      {touched.length > 0 && <Devices title={of > 0 ? t('touches', { n: touched.length, of }) : t('touchesAll', { n: touched.length })} devices={touched} />}
      <div className={css.deeds}>
        <Act
          verb="approve"
          kind="Repository"
          type="primary"
          danger={deleted.length > 0}
          loading={admit.isPending}
          confirm={
            <>
              <Said text={t('admitAsk', { commit, reason: tooFar.reason })} />
              {deleted.length > 0 && <div>{t('admitDeletes', { n: deleted.length })}</div>}
            </>
          }
          onAct={() => admit.mutate({ path: '/source/admit', body: { id: tooFar.id } })}
        >
          {t('admit')}
        </Act>
        {tooFar.commit && <Button onClick={() => setRevision(tooFar.commit ?? '')}>{t('seePlan')}</Button>}
      </div>
    </section>
  );
}
