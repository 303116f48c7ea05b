import { Button } from 'antd';
import { useState } from 'react';
import { Name } from '@/components';
import { useText } from '@/i18n/language';
import css from './source.module.css';
import texts from './text';

/** Devices that are named at once. */
const SOME = 12;
/** Devices that are named when all are asked for; a list of more is not read by anybody. */
const MOST = 500;

/** Devices by name, the first of many. They are `device/name` or `namespace/name`. */
export function Devices({ title, devices, isBad = false }: { title?: string; devices: string[]; isBad?: boolean }) {
  const t = useText(texts);
  const [isOpen, setOpen] = useState(false);
  const shown = devices.slice(0, isOpen ? MOST : SOME);
  const more = devices.length - shown.length;
  return (
    <div className={isBad ? `${css.devices} ${css.bad}` : css.devices}>
      {title && <b>{title}</b>}
      <span className={css.names}>
        {shown.map((device) => <Name key={device} kind="Device" of={device.replace(/^device\//, '')} />)}
        {more > 0 && (isOpen ? <span className="ek-dim">{t('moreDevices', { n: more })}</span> : <Button size="small" type="link" onClick={() => setOpen(true)}>{t('moreDevices', { n: more })}</Button>)}
      </span>
    </div>
  );
}
