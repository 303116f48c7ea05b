/** Who is told of a rule's alerts: the routes in their order, then whom no route takes. */
import { ArrowRightOutlined } from '@ant-design/icons';
import { Tag } from 'antd';
import { Link } from 'react-router';
import { Labels } from '@/components';
import { useText } from '@/i18n/language';
import texts from '../rules/text';
import type { RuleSpec } from '../rules/types';
import { visibleText } from '../text/visible';

export function Told({ notify }: { notify: RuleSpec['notify'] }) {
  const t = useText(texts);
  if (!notify) return <p className="ek-dim rule-none">{t('toldNobody')}</p>;
  return (
    <div className="told">
      {notify.routes?.map((route, index) => (
        <div key={index} className="told-row">
          <span className="told-name">{t('route', { n: index + 1 })}</span>
          <span className="told-match">
            {route.matchLabels ? <Labels of={route.matchLabels} /> : <span className="ek-dim">{t('routeAll')}</span>}
            {route.hours && route.hours.length > 0 && <Tag title={JSON.stringify(route.hours)}>{t('routeHours')}</Tag>}
          </span>
          <ArrowRightOutlined aria-hidden className="ek-dim" />
          <Receivers names={route.receivers} />
          {route.continue && <span className="ek-dim">{t('routeGoesOn')}</span>}
        </div>
      ))}
      <div className="told-row">
        <span className="told-name">{t('receivers')}</span>
        <ArrowRightOutlined aria-hidden className="ek-dim" />
        <Receivers names={notify.receivers} />
      </div>
      {notify.escalate?.map((one, index) => (
        <div key={index} className="told-row">
          <span className="told-name">{t('escalate', { after: one.after })}</span>
          <ArrowRightOutlined aria-hidden className="ek-dim" />
          <Receivers names={one.receivers} />
        </div>
      ))}
      <p className="ek-dim">
        {t('timing', { wait: notify.wait ?? '30s', interval: notify.interval ?? '5m', repeat: notify.repeat ?? '4h' })}
        {notify.groupBy && notify.groupBy.length > 0 && <> · {t('groupBy')} {notify.groupBy.map((label) => visibleText(label)).join(', ')}</>}
      </p>
    </div>
  );
}

function Receivers({ names }: { names: string[] }) {
  return (
    <span className="told-match">
      {names.map((name) => (
        <Link key={name} to={`/receivers?${new URLSearchParams({ q: name })}`}>
          {visibleText(name)}
        </Link>
      ))}
    </span>
  );
}
