/**
 * At most so many attempts at once; what comes beyond is refused at once, so that what runs stays
 * fast. The number is fixed or finds itself, and callers may have shares of it: whoever is within
 * its own is let in even while others fill the rest.
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import type { Outcome } from '../../core/outcome.ts'
import type { Policy } from '../../core/policy.ts'
import { check, type Field, fields, type Issue, oneOf, optional } from '../../options/fields.ts'
import { SERVICE_NAME } from '../../options/names.ts'
import { integer, share } from '../../options/quantities.ts'
import {
  ADAPTIVE_LIMIT_DEFAULTS,
  ADAPTIVE_LIMIT_FIELDS,
  AdaptiveLimit,
  type AdaptiveLimitOptions,
  type AdaptiveLimitSettings,
  adaptiveLimitSettings,
  type LimitListener,
} from './adaptive-limit.ts'

/** A number, or one that finds itself. */
export type Concurrency = number | 'adaptive' | AdaptiveLimitOptions

/** By the caller's service: the share of the limit that it can always have. */
export type CallerShares = Readonly<Record<string, number | `${number}%`>>

/** How much may run at once. */
export interface ConcurrencyLimitOptions {
  /** Attempts in progress; at least 1. */
  readonly concurrency: Concurrency
  /**
   * What is kept for certain callers, together at most 100 %; what they leave idle, others may use.
   * @defaultValue none
   */
  readonly shares?: CallerShares
}

export interface ConcurrencyLimitSettings {
  readonly concurrency: number | AdaptiveLimitSettings
  /** From 0 to 1, by service. */
  readonly shares?: Readonly<Record<string, number>> | undefined
}

const NUMBER = integer({ min: 1, max: 1_000_000 })
const ADAPTIVE = oneOf(['adaptive'])
const MOST_SHARES = 100

/** A number, `'adaptive'` or an object; the mistake named is that of the kind it looks like. */
export const CONCURRENCY_FIELD: Field<number | AdaptiveLimitSettings> = {
  optional: false,
  schema: { anyOf: [NUMBER.schema, ADAPTIVE.schema, ADAPTIVE_LIMIT_FIELDS.schema] },
  parse(value, path, issues) {
    if (typeof value === 'object' && value !== null) {
      return adaptiveLimitSettings(ADAPTIVE_LIMIT_FIELDS.parse(value, path, issues))
    }
    if (value === 'adaptive') return ADAPTIVE_LIMIT_DEFAULTS
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

export const SHARES_FIELD: Field<Readonly<Record<string, number>>> = {
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

export const CONCURRENCY_LIMIT_FIELDS = fields({
  concurrency: CONCURRENCY_FIELD,
  shares: optional(SHARES_FIELD),
})

/** Validates. There is no default: what a process can take on is its own. @throws OptionsError */
export function resolveConcurrencyLimit(options: ConcurrencyLimitOptions, what = 'bulkhead'): ConcurrencyLimitSettings {
  return check(CONCURRENCY_LIMIT_FIELDS, options, what)
}

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
