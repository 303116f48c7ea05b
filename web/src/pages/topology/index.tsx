import { Button, Input, Select } from 'antd';
import { useMemo, useState } from 'react';
import { useGet } from '@/api/query';
import type { HealthState, Topology } from '@/api/types';
import { Fetched, Health, Nothing, Page } from '@/components';
import { useText } from '@/i18n/language';
import { useParam } from '@/lib/address';
import { parseName, shownName } from '@/lib/name';
import { usePaused } from '@/lib/pause';
import { Paper } from './Paper';
import { build, type Choice, count, type Model, type Place, rows } from './model';
import texts from './text';
import css from './topology.module.css';

const HEALTH: readonly HealthState[] = ['Healthy', 'Degraded', 'Unreachable', 'Unknown'];
const ILL = 'ill';

/** What is reached through what, and what a dead device cuts off. */
export default function TopologyPage() {
  const t = useText(texts);
  const topology = useGet<Topology>('/topology');
  return (
    <Page title={t('title')} about={t('about')}>
      <Fetched of={topology} lines={10}>{(given) => <Shown given={given} />}</Fetched>
    </Page>
  );
}

function Shown({ given }: { given: Topology }) {
  const t = useText(texts);
  const model = useMemo(() => build(given), [given]);
  const [q, setQ] = useParam('q');
  const [health, setHealth] = useParam('health');
  const [site, setSite] = useParam('site', '*');
  const [open, setOpen] = useState<ReadonlyMap<string, boolean>>(new Map());
  const [sought, setSought] = useState<{ id: string; at: number }>();
  const words = usePaused(q.trim().toLowerCase(), 150);
  const wanted = useMemo(() => wantedBy(words, health), [words, health]);
  const sites = useMemo(() => {
    const choice: Choice = { open, wanted };
    const all = model.sites.filter((one) => site === '*' || one.site === site);
    return all.map((one) => ({ ...one, rows: rows(model, one, choice) })).filter((one) => one.rows.length > 0);
  }, [model, site, open, wanted]);
  const clear = (): void => {
    setQ('');
    setHealth('');
    setSite('*');
  };
  const openAll = (isOpen: boolean): void => {
    const next = new Map<string, boolean>();
    for (const place of model.places.values()) {
      if (place.children.length > 0) next.set(place.id, isOpen);
      if (isOpen) next.set(`${place.id}>`, true);
    }
    for (const one of model.sites) next.set(`site:${one.site}>`, isOpen);
    setOpen(next);
  };
  if (model.places.size === 0) return <Nothing title={t('empty')} hint={t('emptyHint')} />;
  return (
    <div className={model.cut.size > 0 ? `${css.view} ${css.withCut}` : css.view}>
      <Cut model={model} onShow={(id) => setSought({ id, at: Date.now() })} />
      <search className={css.bar}>
        <Input.Search className={css.words} aria-label={t('filter')} placeholder={t('filter')} value={q} allowClear onChange={(event) => setQ(event.target.value)} />
        <Select
          className={css.select}
          aria-label={t('health')}
          value={health}
          onChange={setHealth}
          options={[{ value: '', label: t('anyHealth') }, { value: ILL, label: t('notWell') }, ...HEALTH.map((value) => ({ value, label: t(value) }))]}
        />
        <Select
          className={css.select}
          aria-label={t('site')}
          value={site}
          onChange={setSite}
          showSearch
          options={[{ value: '*', label: t('anySite') }, ...model.sites.map((one) => ({ value: one.site, label: one.site || t('noSite') }))]}
        />
        <Counts model={model} />
        <span className={css.right}>
          {given.hidden > 0 && <span className="ek-dim">{t('hidden', { n: given.hidden })}</span>}
          <Button size="small" onClick={() => openAll(true)}>{t('expandAll')}</Button>
          <Button size="small" onClick={() => openAll(false)}>{t('collapseAll')}</Button>
        </span>
      </search>
      {sites.length === 0 ? (
        <Nothing title={t('nothing')} hint={t('nothingHint')} action={<Button onClick={clear}>{t('clear')}</Button>} />
      ) : (
        <Paper model={model} sites={sites} sought={sought} onOpen={(id, isOpen) => setOpen(new Map(open).set(id, isOpen))} />
      )}
    </div>
  );
}

function wantedBy(words: string, health: string): ((place: Place) => boolean) | undefined {
  if (words === '' && health === '') return undefined;
  return ({ id, given }) => {
    const fits = health === '' || (health === ILL ? given.health !== 'Healthy' || given.alerts > 0 : given.health === health);
    return fits && id.toLowerCase().includes(words);
  };
}

function Counts({ model }: { model: Model }) {
  const t = useText(texts);
  const counted = useMemo(() => count(model, [...model.places.keys()]), [model]);
  return (
    <span className={css.counts}>
      {HEALTH.filter((health) => counted[health] > 0).map((health) => (
        <span key={health}>
          <Health value={health} bare /> <b className="ek-num">{counted[health]}</b>
        </span>
      ))}
      {counted.alerts > 0 && <span>{t('alerts', { n: counted.alerts })}</span>}
    </span>
  );
}

/** What is dead and has something behind it: the first thing that somebody on call wants to know. */
function Cut({ model, onShow }: { model: Model; onShow: (id: string) => void }) {
  const t = useText(texts);
  const roots = [...model.cut].sort((a, b) => b[1].length - a[1].length).slice(0, 5);
  if (roots.length === 0) return null;
  return (
    <ul className={css.cutList}>
      {roots.map(([root, behind]) => (
        <li key={root}>
          <Health value="Unreachable" bare />
          <span>{t('cutTitle', { root: shownName(parseName(root)), n: behind.length })}</span>
          <Button size="small" onClick={() => onShow(root)}>{t('cutShow')}</Button>
        </li>
      ))}
    </ul>
  );
}
