import { Alert, Button } from 'antd';
import type { Refused } from '@/api/http';
import { useText } from '@/i18n/language';
import texts from './text';

interface Props {
  error: Refused | Error;
  retry?: () => void;
}

/** What the engine refused, and why; with the fields that were wrong, if it says which. */
export function Problem({ error, retry }: Props) {
  const t = useText(texts);
  const problem = 'problem' in error ? error.problem : { status: -1, detail: error.message };
  const { title, hint } = words(problem.status);
  const detail = problem.status === 0 ? undefined : problem.detail || problem.title;
  return (
    <Alert
      type={problem.status === 0 || problem.status === 404 ? 'warning' : 'error'}
      showIcon
      role="alert"
      title={t(title)}
      description={
        <>
          {hint && <p>{t(hint)}</p>}
          {detail && <p className="ek-pre">{detail}</p>}
          {problem.errors && problem.errors.length > 0 && (
            <ul className="ek-plain">
              {problem.errors.map((field, index) => (
                <li key={index}>
                  {field.pointer && <code>{field.pointer}</code>} {field.file && <code>{`${field.file}:${field.line ?? 1}`}</code>} {field.detail}
                </li>
              ))}
            </ul>
          )}
        </>
      }
      action={retry && <Button size="small" onClick={retry}>{t('again')}</Button>}
    />
  );
}

function words(status: number): { title: keyof typeof texts; hint?: keyof typeof texts } {
  switch (status) {
    case 0:
    case 502:
    case 503:
    case 504:
      return { title: 'noAnswer', hint: 'noAnswerHint' };
    case 403:
      return { title: 'forbidden', hint: 'forbiddenHint' };
    case 404:
    case 410:
      return { title: 'notFound', hint: 'notFoundHint' };
    case 409:
    case 412:
      return { title: 'conflict' };
    case 429:
      return { title: 'tooMany' };
    default:
      return { title: 'failed' };
  }
}
