/**
 * A second attempt beside one that is late: the first success wins, the other is cancelled without
 * effect on statistics. Only for calls that may run twice; paid from the retry and the hedge
 * budget.
 */
import type { Attempt } from '../core/attempt.ts'
import { waitedForPeerMs } from '../core/attempt.ts'
import type { Clock } from '../core/clock.ts'
import type { Outcome } from '../core/outcome.ts'
import { type Duration, parseDuration } from '../options/duration.ts'
import { type Field, optional, show, withDefault } from '../options/fields.ts'
import { share } from '../options/quantities.ts'
import { definePolicy, type OptionsOf, type PolicyDefinition, type SettingsOf } from './define-policy.ts'
import { LatencyWindows } from './latency-windows.ts'

const PERCENTILE = /^p(\d{2}(?:\.\d{1,3})?)$/
const LONGEST_AFTER_MS = 60_000

interface After {
  readonly ms: number | undefined
  readonly percentile: number
}

const AFTER: Field<After, Duration | `p${number}`> = {
  optional: false,
  schema: {
    description: "a duration such as '50ms', or a percentile of measured latencies such as 'p95'",
    oneOf: [
      { type: 'number', minimum: 1, maximum: LONGEST_AFTER_MS },
      { type: 'string', pattern: '^(\\d+(\\.\\d+)?(ms|s|m|h|d)|p\\d{2}(\\.\\d{1,3})?)$' },
    ],
  },
  parse(value, path, issues) {
    const text = typeof value === 'string' ? PERCENTILE.exec(value) : null
    if (text !== null && Number(text[1]) >= 50) return { ms: undefined, percentile: Number(text[1]) / 100 }
    const ms = parseDuration(value)
    if (ms === undefined || ms < 1 || ms > LONGEST_AFTER_MS) {
      const message = `expected a duration from 1 ms to 60 s such as '50ms', or a percentile from 'p50' to 'p99.999', got ${show(value)}`
      issues.push({ path, message })
    }
    return { ms, percentile: 0 }
  },
}

const definition = definePolicy(
  'hedge',
  {
    /**
     * The time after which an answer counts as late, or a percentile of measured latencies from
     * `p50` to `p99.999`. A percentile is used once ten whole seconds have been measured.
     * @defaultValue the percentile that `maxExtraLoad` pays for: `'p95'`
     */
    after: optional(AFTER),
    /**
     * Hedges as a share of the calls that may be hedged. @defaultValue `'5%'`: 1 % (Finagle) cannot
     * help when 2 % of calls are slow
     */
    maxExtraLoad: withDefault(share({ min: 0.001 }), '5%'),
  },
  ({ after, maxExtraLoad }) => ({
    /** `undefined`: by percentile. */
    afterMs: after?.ms,
    // A service with more extra load than half sends nearly every call twice; late is then what is
    // slower than most.
    percentile: after === undefined ? Math.max(0.5, 1 - maxExtraLoad) : after.percentile,
    maxExtraLoad,
  }),
)

/** When a second attempt is sent. */
export interface HedgeOptions extends OptionsOf<typeof definition> {}
export interface HedgeSettings extends SettingsOf<typeof definition> {}
export const HEDGE: PolicyDefinition<HedgeOptions, HedgeSettings> = definition

/** Finagle's `minSendBackupAfterMs`: below it the timer costs more than it gains. */
const SHORTEST_DELAY_MS = 1
/** Savings of quiet times that may be spent at once. */
const MOST_SAVED = 10

/**
 * `sent`: a second attempt began; `won`: it answered first; `unpaid`: it was due and not paid for.
 */
export type HedgeEvent = 'sent' | 'won' | 'unpaid'
export type HedgeListener = (service: string, what: HedgeEvent) => void

/**
 * When, and whether it is paid for. One per service or function; the execution decides what a hedge
 * is.
 */
export class HedgePolicy {
  readonly service: string
  readonly #onHedge: HedgeListener | undefined
  readonly #latencies: LatencyWindows
  #settings: HedgeSettings
  /** Begins empty, so hedges are never more than their share of calls. */
  #saved = 0

  constructor(service: string, settings: HedgeSettings, clock: Clock, onHedge?: HedgeListener) {
    this.service = service
    this.#settings = settings
    this.#onHedge = onHedge
    this.#latencies = new LatencyWindows(clock)
  }

  /** New settings; what was measured and saved stays. */
  configure(settings: HedgeSettings): void {
    this.#settings = settings
  }

  /** How long to wait for the first attempt; Infinity while that is not known. */
  get delayMs(): number {
    const { afterMs, percentile } = this.#settings
    return afterMs ?? Math.max(SHORTEST_DELAY_MS, this.#latencies.percentile(percentile))
  }

  get affordable(): boolean {
    return this.#saved >= 1 - 1e-9
  }

  /** Once per call that may be hedged. */
  deposit(): void {
    this.#saved = Math.min(MOST_SAVED, this.#saved + this.#settings.maxExtraLoad)
  }

  sent(): void {
    this.#saved -= 1
    this.#onHedge?.(this.service, 'sent')
  }

  unpaid(): void {
    this.#onHedge?.(this.service, 'unpaid')
  }

  /**
   * Learns how long attempts take. A loser and one that ran out of time took at least so long, and
   * to leave them out would make the service look faster than it is.
   */
  ended(attempt: Attempt, outcome: Outcome, now: number): void {
    const { verdict, code } = outcome
    // An attempt that had little time took at least so little, which is no latency of anything.
    const late = verdict !== 'cancelled' && (code === 'attempt-timeout' || code === 'deadline-exceeded')
    const counts = verdict === 'success' || late || outcome === LOST
    if (counts && !attempt.openEnded && this.#settings.afterMs === undefined) {
      this.#latencies.record(waitedForPeerMs(attempt, now), now)
    }
    if (attempt.hedge && verdict === 'success') this.#onHedge?.(this.service, 'won')
  }
}

/** How an attempt ends that another one has overtaken. */
export const LOST: Outcome = Object.freeze({
  verdict: 'cancelled',
  code: 'cancelled',
  status: undefined,
  cause: undefined,
  retryAfterMs: undefined,
})
