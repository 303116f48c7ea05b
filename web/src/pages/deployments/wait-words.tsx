/** What a rollout waits for, in one line. */
import { Time } from '@/components';
import { useText } from '@/i18n/language';
import { visibleText } from '../text/visible';
import { splitWait } from './list';
import texts from './text';

/** A time within the engine's words, which has it in UTC. */
const TIME = /\b(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)/;

/** The word for a kind of waiting; what is not known stays as the engine has it. */
export function useKindWord(): (kind: string) => string {
  const t = useText(texts);
  return (kind) => (kind in texts ? t(kind as keyof typeof texts) : kind);
}

/** The kind and the rest. */
export function WaitWords({ text }: { text: string }) {
  const t = useText(texts);
  const word = useKindWord();
  const { kind, rest } = splitWait(text);
  return <span>{kind && t('kindOf', { kind: word(kind) })}<WaitRest kind={kind} rest={rest} /></span>;
}

/** The rest alone: in the reader's language where little but a time is news, else the engine's words with their times in the reader's zone. */
export function WaitRest({ kind, rest }: { kind: string; rest: string }) {
  const t = useText(texts);
  const at = TIME.exec(rest)?.[1];
  if (kind === 'Approval') return t('person');
  if (kind === 'Soak' && at) return <>{t('until')} <Time at={at} /></>;
  if (kind === 'Window' && at) return <>{t('opens')} <Time at={at} /></>;
  // What stands between two times is at the even places.
  return visibleText(rest).split(TIME).map((part, place) => (place % 2 === 0 ? part : <Time key={place} at={part} />));
}
