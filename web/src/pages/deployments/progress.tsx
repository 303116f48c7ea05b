/** How many devices have it: a bar with its numbers, which say the same in words. */
import { useText } from '@/i18n/language';
import texts from './text';
import './progress.css';

export function Progress({ counts, wide = false }: { counts: Record<string, number> | undefined; wide?: boolean }) {
  const t = useText(texts);
  const of = (key: string) => counts?.[key] ?? 0;
  const total = of('total');
  if (total === 0) return <span className="ek-dim">{t('noDevices')}</span>;
  const parts = (['updated', 'failed', 'unreachable'] as const).filter((key) => of(key) > 0);
  const words = t('bar', { updated: of('updated'), total, failed: of('failed'), unreachable: of('unreachable') });
  return (
    <div className={`progress ${wide ? 'progress-wide' : ''}`} role="img" aria-label={words} title={words}>
      <div className="progress-bar">
        {parts.map((key) => (
          <span key={key} className={`progress-${key}`} style={{ width: `${(of(key) / total) * 100}%` }} />
        ))}
      </div>
      <div className="progress-numbers">
        <span className="ek-num">
          {of('updated').toLocaleString('en-US').replaceAll(',', '\u202f')} / {total.toLocaleString('en-US').replaceAll(',', '\u202f')}
        </span>
        {of('failed') > 0 && <span className="progress-bad">✕ {t('failed', { n: of('failed') })}</span>}
        {of('unreachable') > 0 && <span className="ek-dim">{t('unreachable', { n: of('unreachable') })}</span>}
      </div>
    </div>
  );
}
