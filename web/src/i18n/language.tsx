import { createContext, type ReactNode, use, useEffect, useMemo, useState } from 'react';
import { recall, remember } from '@/lib/remember';
import { firstLanguage, type Language, type Say, say, type Texts } from './text';

const Spoken = createContext<{ language: Language; setLanguage: (language: Language) => void }>({
  language: 'en',
  setLanguage: () => {},
});

export function LanguageProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(() => firstLanguage(recall('language'), navigator.languages));
  useEffect(() => {
    remember('language', language);
    document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  }, [language]);
  const value = useMemo(() => ({ language, setLanguage }), [language]);
  return <Spoken value={value}>{children}</Spoken>;
}

export function useLanguage() {
  return use(Spoken);
}

/** `const t = useText(texts); t('title'); t('found', {n: 3})`. */
export function useText<T extends Texts>(texts: T): Say<T> {
  const { language } = use(Spoken);
  return useMemo(() => say(texts, language), [texts, language]);
}
