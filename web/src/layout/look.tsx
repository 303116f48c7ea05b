import { App, ConfigProvider } from 'antd';
import enUS from 'antd/locale/en_US';
import zhCN from 'antd/locale/zh_CN';
import dayjs from 'dayjs';
import 'dayjs/locale/zh-cn';
import { createContext, type ReactNode, use, useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import { useLanguage } from '@/i18n/language';
import { nonce } from '@/lib/nonce';
import { recall, remember } from '@/lib/remember';
import { type ThemeChoice, themeOf } from '@/theme';

const Look = createContext<{ choice: ThemeChoice; setChoice: (choice: ThemeChoice) => void; dark: boolean }>({
  choice: 'system',
  setChoice: () => {},
  dark: false,
});

const wish = window.matchMedia('(prefers-color-scheme: dark)');

function onWish(told: () => void): () => void {
  wish.addEventListener('change', told);
  return () => wish.removeEventListener('change', told);
}

function firstChoice(): ThemeChoice {
  const stored = recall('theme');
  return stored === 'light' || stored === 'dark' ? stored : 'system';
}

/** Light or dark, and how antd speaks. */
export function LookProvider({ children }: { children: ReactNode }) {
  const { language } = useLanguage();
  const [choice, setChoice] = useState<ThemeChoice>(firstChoice);
  const wished = useSyncExternalStore(onWish, () => wish.matches);
  const dark = choice === 'system' ? wished : choice === 'dark';
  useEffect(() => {
    remember('theme', choice);
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  }, [choice, dark]);
  useEffect(() => {
    dayjs.locale(language === 'zh' ? 'zh-cn' : 'en');
  }, [language]);
  const look = useMemo(() => ({ choice, setChoice, dark }), [choice, dark]);
  const theme = useMemo(() => themeOf(dark), [dark]);
  const csp = useMemo(() => {
    const value = nonce();
    return value ? { nonce: value } : {};
  }, []);
  return (
    <Look value={look}>
      <ConfigProvider theme={theme} csp={csp} locale={language === 'zh' ? zhCN : enUS} button={{ autoInsertSpace: false }} tooltip={{ unique: true }}>
        <App className="ek-app" message={{ maxCount: 3 }}>{children}</App>
      </ConfigProvider>
    </Look>
  );
}

export function useLook() {
  return use(Look);
}
