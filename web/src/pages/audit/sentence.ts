// Entries of the audit log as sentences. An act is two entries, one before it is done and one with what came of it; each verb has its words
// for both, and the outcome makes the sentence of them.

import { fill, type Language, text } from '@/i18n/text';
import type { Entry } from './entry';

/** A part of a sentence: words, or something that can be gone to. */
export type Part = { kind: 'words' | 'who' | 'target' | 'unit'; text: string };

/** `[to do it, it was done]`; in Chinese the same words serve for both. `{target}` stands for what it was done to. */
type Words = { en: readonly [string, string]; zh: string };

const VERBS: Readonly<Record<string, Words>> = {
  prepare: { en: ['prepare {target}', 'prepared {target}'], zh: '为变更准备 {target}' },
  apply: { en: ['update {target}', 'updated {target}'], zh: '更新 {target}' },
  restore: { en: ['bring back what was on {target}', 'brought back what was on {target}'], zh: '还原 {target}' },
  reboot: { en: ['reboot {target}', 'rebooted {target}'], zh: '重启 {target}' },
  remove: { en: ['take its content off {target}', 'took its content off {target}'], zh: '从 {target} 移除内容' },
  admit: { en: ['put {target} in force', 'put {target} in force'], zh: '使 {target} 生效' },
  approve: { en: ['approve {target}', 'approved {target}'], zh: '批准 {target}' },
  start: { en: ['start the rollout of {target}', 'started the rollout of {target}'], zh: '启动 {target} 的发布' },
  'open-batch': { en: ['open the next batch of {target}', 'opened the next batch of {target}'], zh: '放行 {target} 的下一批次' },
  complete: { en: ['complete the rollout of {target}', 'completed the rollout of {target}'], zh: '完成 {target} 的发布' },
  'roll-back': { en: ['roll back {target}', 'began to roll back {target}'], zh: '回滚 {target}' },
  'rolled-back': { en: ['end the rollback of {target}', 'ended the rollback of {target}'], zh: '完成 {target} 的回滚' },
  stop: { en: ['stop the rollout of {target}', 'stopped the rollout of {target}'], zh: '停止 {target} 的发布' },
  pause: { en: ['pause {target}', 'paused {target}'], zh: '暂停 {target}' },
  resume: { en: ['resume {target}', 'resumed {target}'], zh: '恢复 {target} 的发布' },
  undo: { en: ['undo {target}', 'undid {target}'], zh: '撤销 {target}' },
  forget: { en: ['forget devices of {target}', 'forgot devices of {target}'], zh: '清除 {target} 中已不存在的设备' },
  recreate: { en: ['take up {target} again', 'took up {target} again'], zh: '重新接管 {target}' },
  end: { en: ['end {target}', 'ended {target}'], zh: '结束 {target}' },
  fire: { en: ['raise an alert on {target}', 'raised an alert on {target}'], zh: '在 {target} 上触发告警' },
  resolve: { en: ['resolve an alert on {target}', 'resolved an alert on {target}'], zh: '解除 {target} 上的告警' },
  acknowledge: { en: ['acknowledge an alert on {target}', 'acknowledged an alert on {target}'], zh: '确认 {target} 上的告警' },
  unacknowledge: { en: ['take back an acknowledgement on {target}', 'took back an acknowledgement on {target}'], zh: '撤回对 {target} 上告警的确认' },
  silence: { en: ['mute alerts on {target}', 'muted alerts on {target}'], zh: '静默 {target} 上的告警' },
  'try-out': { en: ['send a test to {target}', 'sent a test to {target}'], zh: '向 {target} 发送测试通知' },
  archive: { en: ['archive {target}', 'archived {target}'], zh: '归档 {target}' },
  create: { en: ['create {target}', 'created {target}'], zh: '创建 {target}' },
  update: { en: ['change {target}', 'changed {target}'], zh: '修改 {target}' },
  change: { en: ['change {target}', 'changed {target}'], zh: '修改 {target}' },
  edit: { en: ['change {target}', 'changed {target}'], zh: '修改 {target}' },
  delete: { en: ['delete {target}', 'deleted {target}'], zh: '删除 {target}' },
  commit: { en: ['commit {target}', 'committed {target}'], zh: '提交 {target}' },
  look: { en: ['look at {target} now', 'asked for a look at {target}'], zh: '立即检查 {target}' },
  sync: { en: ['check the source now', 'asked for a check of the source'], zh: '立即检查配置来源' },
  'sign-in': { en: ['sign in as {target}', 'signed in as {target}'], zh: '以 {target} 登录' },
  'sign-out': { en: ['sign out {target}', 'signed out {target}'], zh: '退出 {target} 的登录' },
  add: { en: ['add {target}', 'added {target}'], zh: '添加 {target}' },
  invite: { en: ['invite {target}', 'invited {target}'], zh: '邀请 {target}' },
  'set-password': { en: ['set the password of {target}', 'set the password of {target}'], zh: '设置 {target} 的密码' },
  'make-token': { en: ['make a token for {target}', 'made a token for {target}'], zh: '为 {target} 创建令牌' },
  'revoke-token': { en: ['revoke a token of {target}', 'revoked a token of {target}'], zh: '吊销 {target} 的令牌' },
};

const AROUND = text({
  begun: ['{who} begins to {did}', '{who} 开始{did}'],
  done: ['{who} {did}', '{who} 已{did}'],
  failed: ['{who} failed to {did}', '{who} 未能{did}'],
  refused: ['{who} wanted to {did}, which was refused', '{who} 请求{did}，被拒绝'],
  other3: ['{who}: {did}', '{who}：{did}'],
  signIn: ['A sign-in as {target} was refused', '以 {target} 登录被拒绝'],
  unit: [' for {unit}', '（{unit}）'],
  other: ['do “{verb}” to {target}', '对 {target} 执行“{verb}”'],
  otherDone: ['did “{verb}” to {target}', '对 {target} 执行“{verb}”'],
  nowhere: ['the engine', '引擎'],
});

const ENGINE = text({ name: ['Evenkeel', 'Evenkeel'] });

const OUTCOMES = ['begun', 'done', 'failed', 'refused'] as const;

/** What is not words. Texts of an entry are put in after the split, so that none of them can bring a mark in. */
const SPLIT = /(\{(?:who|target|unit|verb)\})/;

/** The sentence, in parts. */
export function sentence(entry: Entry, language: Language): Part[] {
  const at = language === 'zh' ? 1 : 0;
  const outcome = OUTCOMES.find((known) => known === entry.outcome) ?? 'other3';
  const words = Object.hasOwn(VERBS, entry.verb) ? VERBS[entry.verb] : undefined;
  const isPast = outcome === 'done';
  const did = words
    ? language === 'zh'
      ? words.zh
      : words.en[isPast ? 1 : 0]
    : AROUND[isPast ? 'otherDone' : 'other'][at];
  const hasUnit = entry.unit !== undefined && entry.unit !== '' && entry.unit !== entry.target;
  // Of our own words only: what an entry says is put in below, and is not searched for braces.
  const isSignIn = entry.verb === 'sign-in' && outcome === 'refused';
  const whole = isSignIn ? AROUND.signIn[at] : fill(AROUND[outcome][at], { did }) + (hasUnit ? AROUND.unit[at] : '');
  return whole
    .split(SPLIT)
    .map((piece): Part => {
      switch (piece) {
        case '{who}':
          return { kind: 'who', text: entry.actor.kind === 'engine' ? ENGINE.name[at] : entry.actor.name || '?' };
        case '{target}':
          return { kind: 'target', text: entry.target || AROUND.nowhere[at] };
        case '{unit}':
          return { kind: 'unit', text: entry.unit ?? '' };
        case '{verb}':
          return { kind: 'words', text: entry.verb };
        default:
          return { kind: 'words', text: piece };
      }
    })
    .filter((part) => part.text !== '');
}

/** The sentence as one text: for what is read aloud. */
export function plain(entry: Entry, language: Language): string {
  return sentence(entry, language)
    .map((part) => part.text)
    .join('');
}
