import { MenuFoldOutlined, MenuOutlined, MenuUnfoldOutlined } from '@ant-design/icons';
import { Badge, Button, Drawer, Menu, type MenuProps, Tooltip } from 'antd';
import { type ReactNode, useCallback, useEffect, useRef, useState } from 'react';
import { Link, useLocation } from 'react-router';
import { useGet } from '@/api/query';
import { useSession } from '@/api/session';
import type { Overview } from '@/api/types';
import frame from '@/i18n/frame';
import { useText } from '@/i18n/language';
import { recall, remember } from '@/lib/remember';
import { Keys } from './keys';
import { LanguageSwitch, LiveSign, ThemeSwitch, UserMenu } from './header';
import { Mark } from './Mark';
import { PLACES, placeAt } from './places';
import { Search, type SearchHandle } from './Search';

const GROUPS = ['fleet', 'watching', 'governing'] as const;

/** What stands around every page. */
export function Frame({ children }: { children: ReactNode }) {
  const t = useText(frame);
  const { pathname } = useLocation();
  const [folded, setFolded] = useState(() => recall('menu') === 'folded');
  const [drawn, setDrawn] = useState(false);
  const search = useRef<SearchHandle>(null);
  const main = useRef<HTMLElement>(null);
  const onSearch = useCallback(() => search.current?.focus(), []);
  useEffect(() => remember('menu', folded ? 'folded' : 'open'), [folded]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: whenever the address is another one
  useEffect(() => {
    setDrawn(false);
    main.current?.scrollTo(0, 0);
  }, [pathname]);
  return (
    <div className={`ek-frame${folded ? ' ek-folded' : ''}`}>
      <a className="ek-skip" href="#content">{t('skip')}</a>
      <nav className="ek-side" aria-label={t('menu')}>
        <Link to="/" className="ek-brand"><Mark /><span>Evenkeel</span></Link>
        <MainMenu folded={folded} />
        <Tooltip title={folded ? t('unfold') : ''} placement="right">
          <button type="button" className="ek-fold" aria-label={folded ? t('unfold') : t('fold')} onClick={() => setFolded(!folded)}>
            {folded ? <MenuUnfoldOutlined aria-hidden /> : <><MenuFoldOutlined aria-hidden /><span>{t('fold')}</span></>}
          </button>
        </Tooltip>
      </nav>
      <header className="ek-head">
        <Button className="ek-burger" type="text" icon={<MenuOutlined aria-hidden />} aria-label={t('openMenu')} onClick={() => setDrawn(true)} />
        <Search ref={search} />
        <div className="ek-head-right">
          <LiveSign />
          <LanguageSwitch />
          <ThemeSwitch />
          <UserMenu />
        </div>
      </header>
      <Drawer open={drawn} onClose={() => setDrawn(false)} placement="left" size={260} title={<span className="ek-brand"><Mark /><span>Evenkeel</span></span>} className="ek-drawer">
        <MainMenu folded={false} />
      </Drawer>
      <main id="content" ref={main} tabIndex={-1} className="ek-main">{children}</main>
      <Keys onSearch={onSearch} />
    </div>
  );
}

function MainMenu({ folded }: { folded: boolean }) {
  const t = useText(frame);
  const { user } = useSession();
  const { pathname } = useLocation();
  const overview = useGet<Overview>('/overview', undefined, { staleTime: 15_000 });
  const alerts = overview.data?.wrong.alerts;
  const firing = alerts ? (alerts.critical ?? 0) + (alerts.warning ?? 0) + (alerts.info ?? 0) : 0;
  const item = (place: (typeof PLACES)[number]) => ({
    key: place.id,
    icon: place.icon,
    title: t(place.id),
    label: (
      <Link to={place.to} className="ek-menu-link">
        <span>{t(place.id)}</span>
        {place.id === 'alerts' && firing > 0 && (
          <Badge count={firing} size="small" overflowCount={999} color={alerts?.critical ? undefined : 'var(--ek-color-warning)'} title={t('firing', { n: firing })} />
        )}
      </Link>
    ),
  });
  const visible = PLACES.filter((place) => !place.admin || user?.isAdmin);
  const items: MenuProps['items'] = GROUPS.map((group) => ({
    type: 'group' as const,
    key: group,
    label: folded ? '' : t(group),
    children: visible.filter((place) => place.group === group).map(item),
  }));
  return <Menu mode="inline" inlineCollapsed={folded} selectedKeys={[placeAt(pathname)?.id ?? '']} items={items} className="ek-menu" />;
}
