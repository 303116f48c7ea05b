import { CheckOutlined, CloseOutlined, EllipsisOutlined, StopOutlined } from '@ant-design/icons';
import { Sign } from '@/components';
import { useText } from '@/i18n/language';
import { Said } from '../text/Said';
import texts from './text';

/** What came of an act. */
export function Outcome({ value }: { value: string }) {
  const t = useText(texts);
  switch (value) {
    case 'begun':
      return <Sign tone="calm" sign={<EllipsisOutlined />}>{t('begun')}</Sign>;
    case 'done':
      return <Sign tone="good" sign={<CheckOutlined />}>{t('done')}</Sign>;
    case 'failed':
      return <Sign tone="bad" sign={<CloseOutlined />}>{t('failed')}</Sign>;
    case 'refused':
      return <Sign tone="warn" sign={<StopOutlined />}>{t('refused')}</Sign>;
    default:
      return <Sign tone="calm" sign={<EllipsisOutlined />}><Said text={value} /></Sign>;
  }
}
