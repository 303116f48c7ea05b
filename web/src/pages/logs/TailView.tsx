import { ClearOutlined, DisconnectOutlined, LoadingOutlined, PauseOutlined, StopOutlined, VerticalAlignTopOutlined } from '@ant-design/icons';
import { Button } from 'antd';
import { useCallback } from 'react';
import { Nothing, Part, Sign } from '@/components';
import { useText } from '@/i18n/language';
import type { Filters } from './filters';
import { useTail } from './live';
import css from './logs.module.css';
import { Rows } from './Rows';
import texts from './text';

type Props = { filters: Filters; onSet: (next: Partial<Filters>) => void; wrap: boolean; onEnd: () => void };

/** Lines as they come. It holds while the reader looks at older ones. */
export function TailView({ filters, onSet, wrap, onEnd }: Props) {
  const t = useText(texts);
  const { state, connection, tell } = useTail(filters);
  const onTop = useCallback((isAtTop: boolean) => tell({ what: isAtTop ? 'goOn' : 'hold' }), [tell]);
  return (
    <Part
      flush
      className={css.tail ?? ''}
      title={
        connection === 'live' ? (
          <Sign tone={state.held ? 'warn' : 'good'} sign={state.held ? <PauseOutlined /> : <span className={css.beat} />} bare>
            {state.held ? t('tailHeld', { n: state.waiting.length }) : t('tailLive')}
          </Sign>
        ) : (
          <Sign tone={connection === 'lost' ? 'bad' : 'busy'} sign={connection === 'lost' ? <DisconnectOutlined /> : <LoadingOutlined />} bare>
            {t(connection === 'lost' ? 'tailLost' : 'tailConnecting')}
          </Sign>
        )
      }
      extra={
        <>
          {state.held ? (
            <Button size="small" type="primary" icon={<VerticalAlignTopOutlined />} onClick={() => tell({ what: 'goOn' })}>{t('goOn')}</Button>
          ) : (
            <Button size="small" icon={<PauseOutlined />} onClick={() => tell({ what: 'hold' })}>{t('hold')}</Button>
          )}
          <Button size="small" icon={<ClearOutlined />} onClick={() => tell({ what: 'clear' })}>{t('clear')}</Button>
          <Button size="small" icon={<StopOutlined />} onClick={onEnd}>{t('stop')}</Button>
        </>
      }
    >
      {state.leftOut > 0 && <div className={css.leftOut} role="status">{t('leftOut', { n: state.leftOut })}</div>}
      {state.lines.length === 0 ? (
        <Nothing title={t('tailEmpty')} hint={t('tailEmptyHint')} />
      ) : (
        <Rows lines={state.lines} wrap={wrap} onSet={onSet} onTop={onTop} />
      )}
    </Part>
  );
}
