import {
  DesktopOutlined, GlobalOutlined, KeyOutlined, LaptopOutlined, LockOutlined, LogoutOutlined, MoonOutlined, SunOutlined, SyncOutlined,
  ThunderboltFilled, UserOutlined, WarningFilled,
} from '@ant-design/icons';
import { useQueryClient } from '@tanstack/react-query';
import { Button, Dropdown, Tooltip } from 'antd';
import { lazy, Suspense, useState } from 'react';
import { useNavigate } from 'react-router';
import { useLive } from '@/api/live';
import { useDeed } from '@/api/query';
import { useSession } from '@/api/session';
import { Sign } from '@/components/states';
import frame from '@/i18n/frame';
import { useLanguage, useText } from '@/i18n/language';
import type { ThemeChoice } from '@/theme';
import { useLook } from './look';

const PasswordForm = lazy(() => import('./PasswordForm'));
const Sessions = lazy(() => import('./Sessions'));

/** Whether what is shown follows the engine at once. */
export function LiveSign() {
  const t = useText(frame);
  const state = useLive();
  const [tone, sign, word, hint] = (
    {
      live: ['good', <ThunderboltFilled key="i" />, 'live', 'liveHint'],
      connecting: ['calm', <SyncOutlined key="i" />, 'connecting', 'connectingHint'],
      polling: ['warn', <WarningFilled key="i" />, 'polling', 'pollingHint'],
    } as const
  )[state];
  return (
    <Tooltip title={t(hint)}>
      <span role="status" className="ek-live"><Sign tone={tone} sign={sign} bare>{t(word)}</Sign></span>
    </Tooltip>
  );
}

export function LanguageSwitch() {
  const t = useText(frame);
  const { language, setLanguage } = useLanguage();
  const items = [{ key: 'en', label: 'English' }, { key: 'zh', label: '中文' }];
  return (
    <Dropdown trigger={['click']} menu={{ items, selectable: true, selectedKeys: [language], onClick: ({ key }) => setLanguage(key === 'zh' ? 'zh' : 'en') }}>
      <Button type="text" icon={<GlobalOutlined aria-hidden />} aria-label={`${t('language')}: ${language === 'zh' ? '中文' : 'EN'}`}>
        <span className="ek-wide">{language === 'zh' ? '中文' : 'EN'}</span>
      </Button>
    </Dropdown>
  );
}

export function ThemeSwitch() {
  const t = useText(frame);
  const { choice, setChoice, dark } = useLook();
  const items = [
    { key: 'light', label: t('light'), icon: <SunOutlined aria-hidden /> },
    { key: 'dark', label: t('dark'), icon: <MoonOutlined aria-hidden /> },
    { key: 'system', label: t('system'), icon: <DesktopOutlined aria-hidden /> },
  ];
  return (
    <Dropdown trigger={['click']} menu={{ items, selectable: true, selectedKeys: [choice], onClick: ({ key }) => setChoice(key as ThemeChoice) }}>
      <Button type="text" icon={dark ? <MoonOutlined aria-hidden /> : <SunOutlined aria-hidden />} aria-label={t('theme')} />
    </Dropdown>
  );
}

export function UserMenu() {
  const t = useText(frame);
  const queries = useQueryClient();
  const go = useNavigate();
  const { user, version } = useSession();
  const [changes, setChanges] = useState(false);
  const [looks, setLooks] = useState(false);
  const signOut = useDeed({
    onDone: () => {
      queries.clear();
      window.location.assign('/sign-in');
    },
  });
  const local = user?.kind === 'local';
  const items = [
    { key: 'who', type: 'group' as const, label: <span>{user?.displayName || user?.name}<br /><small>{user?.email || user?.groups.join(', ')}</small></span> },
    { type: 'divider' as const, key: 'd1' },
    { key: 'tokens', icon: <KeyOutlined aria-hidden />, label: t('myTokens') },
    ...(local ? [{ key: 'password', icon: <LockOutlined aria-hidden />, label: t('password') }] : []),
    { key: 'sessions', icon: <LaptopOutlined aria-hidden />, label: t('sessions') },
    { type: 'divider' as const, key: 'd2' },
    { key: 'out', icon: <LogoutOutlined aria-hidden />, label: t('signOut') },
    { key: 'version', type: 'group' as const, label: <small>{t('version', { version })}</small> },
  ];
  const onClick = ({ key }: { key: string }) => {
    if (key === 'out') signOut.mutate({ method: 'DELETE', path: '/session' });
    else if (key === 'sessions') setLooks(true);
    else if (key === 'password') setChanges(true);
    else if (key === 'tokens') void go('/tokens');
  };
  return (
    <>
      <Dropdown trigger={['click']} menu={{ items, onClick }}>
        <Button type="text" icon={<UserOutlined aria-hidden />} aria-label={`${t('user')}: ${user?.name ?? ''}`}>
          <span className="ek-wide">{user?.name}</span>
        </Button>
      </Dropdown>
      {changes && <Suspense fallback={null}><PasswordForm onClose={() => setChanges(false)} /></Suspense>}
      {looks && <Suspense fallback={null}><Sessions onClose={() => setLooks(false)} /></Suspense>}
    </>
  );
}
