/**
 * Limits the attempts in progress; further ones are refused at once, so that the rest stays fast.
 * The limit is fixed or adaptive, and callers may have guaranteed shares of it.
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import type { Outcome } from '../../core/outcome.ts'
import type { Policy } from '../../core/policy.ts'
import { type Field, type Issue, oneOf, optional } from '../../options/fields.ts'
import { SERVICE_NAME } from '../../options/names.ts'
import { integer, share } from '../../options/quantities.ts'
import { definePolicy, type OptionsOf, type PolicyDefinition, type SettingsOf } from '../define-policy.ts'
import {
  ADAPTIVE_LIMIT,
  AdaptiveLimit,
  type AdaptiveLimitOptions,
  type AdaptiveLimitSettings,
  type LimitListener,
} from './adaptive-limit.ts'

/** A number, or one that finds itself. */
export type Concurrency = number | 'adaptive' | AdaptiveLimitOptions

/** By the caller's service: the share of the limit that it can always have. */
export type CallerShares = Readonly<Record<string, number | `${number}%`>>

const NUMBER = integer({ min: 1, max: 1_000_000 })
const ADAPTIVE = oneOf(['adaptive'])
const MOST_SHARES = 100

/** A number, `'adaptive'` or an object; the mistake named is that of the kind it looks like. */
export const CONCURRENCY: Field<number | AdaptiveLimitSettings, Concurrency> = {
  optional: false,
  schema: { anyOf: [NUMBER.schema, ADAPTIVE.schema, ADAPTIVE_LIMIT.schema] },
  parse(value, path, issues) {
    if (typeof value === 'object' && value !== null) {
      return ADAPTIVE_LIMIT.parse(value, path, issues)
    }
    if (value === 'adaptive') return ADAPTIVE_LIMIT.defaults
    const found: Issue[] = []
    const parsed = NUMBER.parse(value, path, found)
    for (const { message } of found) {
      issues.push({
        path,
        message: message.replace('a whole number', "'adaptive', an object with its bounds, or a whole number"),
      })
    }
    return parsed
  },
}

const SHARE = share({ min: 0 })

export const CALLER_SHARES: Field<Readonly<Record<string, number>>, CallerShares> = {
  optional: false,
  schema: {
    type: 'object',
    maxProperties: MOST_SHARES,
    propertyNames: { pattern: SERVICE_NAME.source },
    additionalProperties: SHARE.schema,
  },
  parse(value, path, issues) {
    const shares: Record<string, number> = Object.create(null)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      issues.push({
        path,
        message: "expected an object of shares by the caller's service, such as { checkout: '50%' }",
      })
      return shares
    }
    const entries = Object.entries(value)
    if (entries.length > MOST_SHARES) issues.push({ path, message: `expected at most ${MOST_SHARES} callers` })
    let sum = 0
    for (const [caller, given] of entries.slice(0, MOST_SHARES)) {
      if (!SERVICE_NAME.test(caller)) issues.push({ path: [...path, caller], message: 'is no name of a service' })
      const parsed = SHARE.parse(given, [...path, caller], issues)
      shares[caller] = parsed
      sum += parsed
    }
    if (sum > 1 + 1e-9)
      issues.push({ path, message: `the shares are ${Math.round(sum * 100)}% together; at most 100% can be kept` })
    return Object.freeze(shares)
  },
}

const definition = definePolicy('concurrency limit', {
  /** Attempts in progress: at least 1, `'adaptive'`, or the options of an adaptive limit. */
  concurrency: CONCURRENCY,
  /**
   * By the caller's service, the share of the limit that it can always have, together at most 100
   * %; what it leaves idle, others may use. @defaultValue none
   */
  shares: optional(CALLER_SHARES),
})

/** How much may run at once. */
export interface ConcurrencyLimitOptions extends OptionsOf<typeof definition> {}
/** With shares from 0 to 1. */
export interface ConcurrencyLimitSettings extends SettingsOf<typeof definition> {}
export const CONCURRENCY_LIMIT: PolicyDefinition<ConcurrencyLimitOptions, ConcurrencyLimitSettings> = definition

interface Partition {
  readonly share: number
  inFlight: number
}

export class ConcurrencyLimitPolicy implements Policy {
  readonly name = 'concurrency-limit'
  readonly #clock: Clock | undefined
  readonly #onChange: LimitListener | undefined
  #fixed: number
  #adaptive: AdaptiveLimit | undefined
  #inFlight = 0
  /** Also counts for callers without a share any more, until they are through. */
  #partitions: Map<string, Partition> | undefined

  /** Only an adaptive limit needs the clock. */
  constructor(settings: ConcurrencyLimitSettings, clock?: Clock, onChange?: LimitListener) {
    this.#clock = clock
    this.#onChange = onChange
    this.#fixed = 0
    this.configure(settings)
  }

  get inFlight(): number {
    return this.#inFlight
  }

  get limit(): number {
    return this.#adaptive === undefined ? this.#fixed : this.#adaptive.limit
  }

  /** Whether the limit finds itself. */
  get adaptive(): boolean {
    return this.#adaptive !== undefined
  }

  /** What runs beyond a lowered limit is left to end; what an adaptive limit has learned stays. */
  configure(settings: ConcurrencyLimitSettings): void {
    const { concurrency, shares } = settings
    if (typeof concurrency === 'number') {
      this.#fixed = concurrency
      this.#adaptive = undefined
    } else if (this.#adaptive !== undefined) this.#adaptive.configure(concurrency)
    else {
      if (this.#clock === undefined) throw new TypeError('an adaptive concurrency limit needs a clock')
      this.#adaptive = new AdaptiveLimit(concurrency, this.#clock, this.#onChange)
    }
    const before = this.#partitions
    this.#partitions = undefined
    for (const [caller, part] of Object.entries(shares ?? {})) {
      this.#partitions ??= new Map()
      this.#partitions.set(caller, { share: part, inFlight: before?.get(caller)?.inFlight ?? 0 })
    }
  }

  admit(attempt: Attempt): 'concurrency-limited' | undefined {
    const limit = this.limit
    const own = this.#partitions?.get(attempt.call.peer ?? '')
    if (this.#inFlight >= limit) {
      if (own === undefined || own.inFlight >= Math.ceil(limit * own.share)) return 'concurrency-limited'
    }
    this.#inFlight += 1
    if (own !== undefined) own.inFlight += 1
    attempt.inFlightAtStart = this.#inFlight
    return undefined
  }

  settle(attempt: Attempt, outcome: Outcome): void {
    this.#inFlight -= 1
    const own = this.#partitions?.get(attempt.call.peer ?? '')
    if (own !== undefined && own.inFlight > 0) own.inFlight -= 1
    if (this.#adaptive === undefined || attempt.openEnded || attempt.status === 101) return
    this.#adaptive.sample(attempt.startedAt, attempt.inFlightAtStart, outcome, attempt.endedAt)
  }
}
