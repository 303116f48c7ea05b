import { KeyOutlined, TeamOutlined, UserOutlined } from '@ant-design/icons';
import { Table, type TableColumnsType, Tooltip } from 'antd';
import { useText } from '@/i18n/language';
import { Said } from '../text/Said';
import { type Held, KINDS, LETTERS, type Line, shortKey, VERBS } from './matrix';
import css from './roles.module.css';
import texts from './text';

const SIGNS = { group: <TeamOutlined />, user: <UserOutlined />, signer: <KeyOutlined /> };

/** Subjects by kinds, with verbs as letters. */
export function MatrixTable({ lines }: { lines: Line[] }) {
  const t = useText(texts);
  const hasNamespaces = new Set(lines.map((line) => line.namespace)).size > 1;
  const columns: TableColumnsType<Line> = [
    {
      title: t('who'),
      fixed: 'left',
      width: 220,
      render: (_, line) => (
        <div className={css.who}>
          <span aria-hidden="true">{SIGNS[line.kind]}</span>
          <span>
            <span className="ek-hidden">{t(line.kind)} </span>
            <b title={line.name}><Said text={line.kind === 'signer' ? shortKey(line.name) : line.name} /></b>
            {hasNamespaces && <span className="ek-dim"> · {line.namespace}</span>}
            <div className={css.by}><Said text={line.roles.join(', ')} /></div>
            {line.logins.map((login) => <div key={login} className={css.by}>{t('login', { user: login })}</div>)}
          </span>
        </div>
      ),
    },
    ...KINDS.map((kind) => ({
      title: kind,
      key: kind,
      width: 118,
      render: (_: unknown, line: Line) => <Cell held={line.cells[kind]} />,
    })),
  ];
  return <Table<Line> size="small" rowKey="key" columns={columns} dataSource={lines} pagination={lines.length > 100 ? { pageSize: 100, showSizeChanger: false, size: 'small' } : false} scroll={{ x: 1170 }} />;
}

/** Each verb keeps its place, so that a column can be read down. */
function Cell({ held }: { held: Held[] }) {
  const t = useText(texts);
  if (held.length === 0) return <span className={css.nothing} role="img" aria-label={t('none')}>·</span>;
  return (
    <span className={css.cell}>
      {VERBS.map((verb) => {
        const found = held.find((one) => one.verb === verb);
        return found ? <Letter key={verb} held={found} /> : <span key={verb} className={css.gap} aria-hidden="true" />;
      })}
    </span>
  );
}

function Letter({ held: { verb, how, sources } }: { held: Held }) {
  const t = useText(texts);
  const said = `${verb}: ${t(verb)}, ${t(how)}`;
  const title = (
    <>
      <div><b>{verb}</b>: {t(verb)}</div>
      <div>{t(how)}</div>
      {sources.slice(0, 6).map((source, at) => (
        <div key={at} className={source.suspended ? css.off : undefined}>
          <Said text={t('from', { role: source.role, entry: source.entry })} />
          {source.devices !== undefined && <> · <Said text={t('on', { devices: source.devices })} /></>}
          {source.byEdit && <> · {t('byEdit')}</>}
        </div>
      ))}
    </>
  );
  return (
    <Tooltip title={title}>
      <abbr className={css[how]} tabIndex={0} aria-label={said}>{LETTERS[verb]}</abbr>
    </Tooltip>
  );
}

/** What the letters mean. */
export function Legend() {
  const t = useText(texts);
  return (
    <div className={css.legend}>
      {VERBS.map((verb) => (
        <span key={verb}>
          <abbr className={css.all}>{LETTERS[verb]}</abbr> {verb} <span className="ek-dim">{t(verb)}</span>
        </span>
      ))}
      <span className={css.how}>
        <span><abbr className={css.all}>V</abbr> {t('legendAll')}</span>
        <span><abbr className={css.some}>V</abbr> {t('legendSome')}</span>
        <span><abbr className={css.suspended}>V</abbr> {t('legendOff')}</span>
      </span>
    </div>
  );
}
