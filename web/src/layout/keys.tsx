import { Modal } from 'antd';
import { useEffect, useRef, useState } from 'react';
import { useNavigate } from 'react-router';
import frame from '@/i18n/frame';
import { useText } from '@/i18n/language';
import { PLACES } from './places';

/** Milliseconds in which the second key must follow `g`. */
const PATIENCE = 1_200;

/** Keys must not be taken from somebody who types. */
export function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.closest('[role="dialog"]') !== null);
}

/** `/` searches, `?` shows the keys, `g` and a letter goes somewhere. */
export function Keys({ onSearch }: { onSearch: () => void }) {
  const t = useText(frame);
  const go = useNavigate();
  const [shown, setShown] = useState(false);
  const since = useRef(0);
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      const follows = Date.now() - since.current < PATIENCE;
      since.current = 0;
      if (follows) {
        const place = PLACES.find(({ key }) => key === event.key);
        if (place) {
          event.preventDefault();
          void go(place.to);
        }
      } else if (event.key === '/') {
        event.preventDefault();
        onSearch();
      } else if (event.key === '?') setShown(true);
      else if (event.key === 'g') since.current = Date.now();
    };
    window.addEventListener('keydown', pressed);
    return () => window.removeEventListener('keydown', pressed);
  }, [go, onSearch]);
  return (
    <Modal title={t('keys')} open={shown} onCancel={() => setShown(false)} footer={null} width={460}>
      <dl className="ek-keys">
        <Key keys={['/']} does={t('keysSearch')} />
        <Key keys={['?']} does={t('keysHelp')} />
        {PLACES.map((place) => <Key key={place.id} keys={['g', place.key]} does={t('keysGo', { page: t(place.id) })} />)}
      </dl>
    </Modal>
  );
}

function Key({ keys, does }: { keys: string[]; does: string }) {
  return (
    <div>
      <dt>{keys.map((key) => <kbd key={key}>{key}</kbd>)}</dt>
      <dd>{does}</dd>
    </div>
  );
}
