/**
 * How one signing key succeeds another without a lost call: issuers of certificates, and token
 * keys. Pure: each step is a function of a record and of facts, so any registry may take it.
 *
 * - `steady` → `publish`: a new one is trusted by all, and signs nothing yet
 * - `publish` → `use`: all processes trust it, or everything that the active one signed has ended;
 *   then it signs
 * - `publish` → `steady`: cancelled
 * - `use` → `steady`: everything that the former one signed has ended; it is withdrawn
 */

export type Stage = 'steady' | 'publish' | 'use'

export interface Succession {
  readonly stage: Stage
  /** The id of the one that signs. */
  readonly active: string
  /** In `publish`: trusted, and signs next. */
  readonly next?: string
  /** In `use`: it signed before, and what it signed is trusted. */
  readonly former?: string
  /** The bundle that the stage began with. */
  readonly sequence: number
  /** Wall clock, ms: when the stage began. */
  readonly since: number
  /** How long the stage has lasted by monotonic clocks, as it was noted last. */
  readonly waitedMs: number
  /** The longest life of what `active` signs. */
  readonly lifeMs: number
  /** In `use`: the longest life of what `former` signed. */
  readonly formerLifeMs?: number
  /** In `publish`: time alone does not end it, because older processes cannot verify the next. */
  readonly patient?: boolean
}

/** What is known at the moment of a step. */
export interface Facts {
  /** By both clocks (`StageWait`). */
  readonly waitedMs: number
  /** Every live process trusts the next one. */
  readonly acknowledged: boolean
  /** Every live registry has the next one's key, so that it can sign with it. */
  readonly held: boolean
  /** An operator waits no longer. */
  readonly forced: boolean
  /** `publish` lasts at least so long: for verifiers that do not acknowledge. */
  readonly leastMs: number
  /** The longest life of what any registry signs now. */
  readonly lifeMs: number
  /** For so long a registry may sign without knowing of the steps of the others. */
  readonly cutOffMs: number
}

/** The clocks of registries may differ by a share of a life, and by so long at most. */
const MARGIN_SHARE = 0.25
const MOST_MARGIN_MS = 60_000

/** When the last signature of a key has certainly ended, counted from when it stopped to sign. */
export function lifeWithMargin(lifeMs: number, cutOffMs: number): number {
  return lifeMs + cutOffMs + Math.min(lifeMs * MARGIN_SHARE, MOST_MARGIN_MS)
}

export function steady(active: string, at: { sequence: number; wallNow: number; lifeMs: number }): Succession {
  const { sequence, wallNow, lifeMs } = at
  return { stage: 'steady', active, sequence, since: wallNow, waitedMs: 0, lifeMs }
}

/** Those that are trusted, the one that signs first. */
export function trustedOf({ active, next, former }: Succession): string[] {
  return [active, next, former].filter((id) => id !== undefined)
}

/** `undefined`: one is under way already. */
export function begin(
  succession: Succession,
  next: string,
  at: { sequence: number; wallNow: number; patient?: boolean },
): Succession | undefined {
  if (succession.stage !== 'steady') return undefined
  const { active, lifeMs } = succession
  const { sequence, wallNow, patient } = at
  const begun = { active, lifeMs, next, sequence, since: wallNow, waitedMs: 0 }
  return { stage: 'publish', ...begun, ...(patient === true && { patient }) }
}

/** `undefined`: the next one signs already, or there is none. */
export function cancel(succession: Succession, at: { sequence: number; wallNow: number }): Succession | undefined {
  if (succession.stage !== 'publish') return undefined
  return steady(succession.active, { ...at, lifeMs: succession.lifeMs })
}

/** The active one signs nothing more, because its certificate has ended: `next` signs at once. */
export function replaceEnded(
  succession: Succession,
  next: string,
  at: { sequence: number; wallNow: number },
): Succession {
  const { active, lifeMs } = succession
  const { sequence, wallNow } = at
  const begun = { sequence, since: wallNow, waitedMs: 0, lifeMs }
  return { stage: 'use', active: next, former: active, formerLifeMs: lifeMs, ...begun }
}

/** The step that is due; `undefined`: none yet. `at`: of the bundle that the step makes. */
export function advance(
  succession: Succession,
  facts: Facts,
  at: { sequence: number; wallNow: number },
): Succession | undefined {
  if (whyNot(succession, facts) !== undefined) return undefined
  const { active, next, lifeMs } = succession
  if (next === undefined) return steady(active, { ...at, lifeMs })
  const begun = { sequence: at.sequence, since: at.wallNow, waitedMs: 0 }
  return { stage: 'use', active: next, former: active, formerLifeMs: lifeMs, lifeMs: facts.lifeMs, ...begun }
}

/** What the next step waits for. */
export type Awaited = 'nothing' | 'keys' | 'least-time' | 'acknowledgements' | 'ends-of-life'

/** `undefined`: the next step is due. */
export function whyNot(succession: Succession, facts: Facts): Awaited | undefined {
  const { stage, lifeMs, formerLifeMs = lifeMs, patient } = succession
  const { waitedMs, acknowledged, held, forced, leastMs, cutOffMs } = facts
  switch (stage) {
    case 'steady':
      return 'nothing'
    case 'publish': {
      // Also with force: a registry without the key could renew no certificate.
      if (!held) return 'keys'
      if (forced) return undefined
      if (waitedMs < leastMs) return 'least-time'
      const overMs = patient === true ? Number.POSITIVE_INFINITY : lifeWithMargin(lifeMs, cutOffMs)
      return acknowledged || waitedMs >= overMs ? undefined : 'acknowledgements'
    }
    case 'use':
      return forced || waitedMs >= lifeWithMargin(formerLifeMs, cutOffMs) ? undefined : 'ends-of-life'
  }
}
