import { CheckCircleFilled, FileTextOutlined } from '@ant-design/icons';
import { Part, Sign } from '@/components';
import { useText } from '@/i18n/language';
import { Said } from '../text/Said';
import { finding } from './story';
import css from './source.module.css';
import texts from './text';

/** What is wrong with the manifests, by file and line. */
export function Findings({ findings, title }: { findings: string[]; title?: string }) {
  const t = useText(texts);
  return (
    <Part title={`${title ?? t('findings')}${findings.length > 0 ? ` (${findings.length})` : ''}`} extra={findings.length > 0 && <span className="ek-dim">{t('findingsAbout')}</span>} flush={findings.length > 0}>
      {findings.length === 0 ? <Sign tone="good" sign={<CheckCircleFilled />} bare>{t('noFindings')}</Sign> : <FindingList findings={findings} />}
    </Part>
  );
}

export function FindingList({ findings }: { findings: string[] }) {
  return (
    <ul className={css.findings}>
      {findings.map((text, at) => {
        const { file, line, said } = finding(text);
        return (
          <li key={at}>
            {file && <span className={css.place}><FileTextOutlined aria-hidden="true" /> <code><Said text={`${file}:${line}`} /></code></span>}
            <pre className={css.said}><Said text={said} lines /></pre>
          </li>
        );
      })}
    </ul>
  );
}
