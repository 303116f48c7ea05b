/**
 * What the engine says (openapi.ts, generated: `npm run client`) fits what the pages read (types.ts); only the compiler looks at this file.
 * Where it fails after the engine was changed, types.ts has to follow. Words are compared as texts: OpenAPI has most of them as strings.
 */
import type { components } from './openapi';
import type * as read from './types';

type Said<Name extends keyof components['schemas']> = components['schemas'][Name];

/** The same with any text where certain words are expected. */
type Loose<T> = T extends string ? string : T extends (infer One)[] ? Loose<One>[] : T extends object ? { [Key in keyof T]: Loose<T[Key]> } : T;

type Fits<Engine, Page> = Engine extends Loose<Page> ? true : { engine: Engine; page: Loose<Page> };

/** The page reads nothing that the engine does not say. */
type Says<Engine, Page> = Exclude<keyof Page, keyof Engine> extends never ? true : { unsaid: Exclude<keyof Page, keyof Engine> };

/** Each of these is `true`, or does not compile. */
export const FITS: readonly [
  Fits<Said<'Rights'>, read.Access>,
  Fits<Said<'Topology'>, read.Topology>,
  Fits<Said<'Chart'>, read.Samples>,
  Fits<Said<'Wrong'>['alerts'], read.Overview['wrong']['alerts']>,
  Fits<Said<'Wrong'>['undelivered'], read.Overview['wrong']['undelivered']>,
  Fits<Said<'Changing'>['rollouts'], read.Overview['changing']['rollouts']>,
  Says<Said<'Changing'>, read.Overview['changing']>,
  Fits<Said<'Source'>, Partial<read.Source>>,
  Says<Said<'Source'>, read.Source>,
  Fits<Said<'AuditProof'>, Pick<read.AuditProof, 'size' | 'root' | 'checkpoint' | 'verified'>>,
  Fits<Said<'Alert'>['acknowledged'], read.Alert['acknowledged']>,
  Fits<Pick<Said<'Alert'>, 'id' | 'rule' | 'device' | 'state' | 'severity' | 'summary' | 'activeAt' | 'firedAt' | 'resolvedAt' | 'behind' | 'root' | 'group'>, Pick<read.Alert, 'id' | 'rule' | 'device' | 'state' | 'severity' | 'summary' | 'activeAt' | 'firedAt' | 'resolvedAt' | 'behind' | 'root' | 'group'>>,
  Fits<Said<'Explained'>, { text: string }>,
  Fits<Said<'BatchDevice'>, read.RolloutDevice>,
  Fits<Said<'SessionList'>['items'][number], read.OwnSession>,
] = [true, true, true, true, true, true, true, true, true, true, true, true, true, true, true];
