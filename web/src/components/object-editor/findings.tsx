/** What is wrong with a text, each with its line. */
import { CloseCircleFilled, InfoCircleFilled, WarningFilled } from '@ant-design/icons';
import { Button } from 'antd';
import { useText } from '@/i18n/language';
import { visibleText } from '@/pages/text/visible';
import type { Finding } from './yaml';
import texts from './text';

const ICON = { error: <CloseCircleFilled />, warning: <WarningFilled />, note: <InfoCircleFilled /> };

export function Findings({ findings, onGo }: { findings: Finding[]; onGo?: (line: number) => void }) {
  const t = useText(texts);
  if (findings.length === 0) return null;
  return (
    <ul className="findings" aria-live="polite">
      {findings.map((finding, index) => (
        <li key={index} className={`finding finding-${finding.severity}`}>
          <span aria-hidden className="finding-icon">{ICON[finding.severity]}</span>
          <span className="finding-word">{t(finding.severity)}</span>
          {finding.line !== undefined && onGo && (
            <Button size="small" type="link" onClick={() => onGo(finding.line ?? 1)}>
              {t('line', { n: finding.line })}
            </Button>
          )}
          {finding.pointer && <code>{visibleText(finding.pointer)}</code>}
          <span className="finding-detail">{visibleText(finding.detail, true)}</span>
        </li>
      ))}
    </ul>
  );
}
