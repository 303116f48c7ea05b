import { DatePicker, Segmented } from 'antd';
import dayjs from 'dayjs';
import { useText } from '@/i18n/language';
import { type Range, SPANS } from './range';
import texts from './text';

interface Props {
  range: Range;
  onChoose: (chosen: { last: string } | { from: number; to: number }) => void;
}

/** The last so much, or from and to. */
export function RangePicker({ range, onChoose }: Props) {
  const t = useText(texts);
  return (
    <div className="ek-actions" role="group" aria-label={t('range')}>
      <Segmented size="small" options={Object.keys(SPANS)} value={range.last} onChange={(last) => onChoose({ last })} aria-label={t('range')} />
      <DatePicker.RangePicker
        size="small"
        showTime={{ format: 'HH:mm' }}
        format="MM-DD HH:mm"
        allowClear={false}
        value={[dayjs.unix(range.from), dayjs.unix(range.to)]}
        disabledDate={(day) => day.isAfter(dayjs().endOf('day'))}
        onChange={(chosen) => {
          const [from, to] = chosen ?? [];
          if (from && to && to.isAfter(from)) onChoose({ from: from.unix(), to: to.unix() });
        }}
      />
    </div>
  );
}
