/**
 * Holds attempts back while the service refuses most of them as overload. The formula of Google's
 * SRE book (chapter 21): p = max(0, (requests - K accepts) / (requests + 1)).
 *
 * - idle -> throttling: more than 1 - 1/K of the last ten seconds' attempts were refused as
 *   overload, at 5 a second or more
 * - throttling -> idle: the share has fallen below it; what is held back counts as refused, so it
 *   falls step by step
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import { NOT_STARTED, type Outcome, wasLeftBehind } from '../../core/outcome.ts'
import type { Policy } from '../../core/policy.ts'
import { withDefault } from '../../options/fields.ts'
import { number, share } from '../../options/quantities.ts'
import { definePolicy, type OptionsOf, type PolicyDefinition, type SettingsOf } from '../define-policy.ts'
import { WindowedCounts } from '../windowed-counts.ts'

const definition = definePolicy('throttle', {
  /**
   * K: attempts sent for each that is accepted. Lower it if refusing is expensive to the service.
   * @defaultValue `2` (SRE book): it sees within one round trip that the service is back
   */
  multiplier: withDefault(number({ min: 1.1, max: 100 }), 2),
  /**
   * Share of attempts beyond which none is held back, so that the rest finds out when the service
   * is well again.
   * @defaultValue `'75%'` (Finagle)
   */
  maxShare: withDefault(share({ max: 0.99 }), '75%'),
})

/** When attempts are held back. */
export interface ThrottleOptions extends OptionsOf<typeof definition> {}
export interface ThrottleSettings extends SettingsOf<typeof definition> {}
export const THROTTLE: PolicyDefinition<ThrottleOptions, ThrottleSettings> = definition

/**
 * Finagle's `NackAdmissionFilter`: below 5 a second nothing is held back. The book looks back two
 * minutes; the ten seconds of `WindowedCounts` hold enough attempts at that rate, and let go as
 * soon as the service is well.
 */
const FEWEST = 5 * 10

/** Told when holding back begins and ends. */
export type ThrottleListener = (service: string, on: boolean, share: number) => void

/**
 * Asked for every attempt, before its endpoint is. A refusal here is final: to retry what was held
 * back would undo it. Only overload and refusals count as not accepted: a service that answers 500
 * has done the work, and its breaker is there for that.
 */
export class ClientThrottle implements Policy {
  readonly name = 'client-throttle'
  readonly service: string
  readonly #clock: Clock
  readonly #onChange: ThrottleListener | undefined
  readonly #tally: WindowedCounts
  #settings: ThrottleSettings
  #on = false

  constructor(service: string, settings: ThrottleSettings, clock: Clock, onChange?: ThrottleListener) {
    this.service = service
    this.#settings = settings
    this.#clock = clock
    this.#onChange = onChange
    this.#tally = new WindowedCounts(clock.now())
  }

  /** New settings; what was counted stays. */
  configure(settings: ThrottleSettings): void {
    this.#settings = settings
  }

  /** The share of attempts that is held back now. */
  get share(): number {
    return this.#shareAt(this.#clock.now())
  }

  #shareAt(now: number): number {
    const total = this.#tally.total(now)
    if (total < FEWEST) return 0
    const accepts = total - this.#tally.bad(now)
    const { multiplier, maxShare } = this.#settings
    return Math.min(maxShare, Math.max(0, (total - multiplier * accepts) / (total + 1)))
  }

  admit(attempt?: Attempt): 'throttled' | undefined {
    const now = attempt?.startedAt || this.#clock.now()
    const share = this.#shareAt(now)
    if (share > 0 !== this.#on) {
      this.#on = share > 0
      this.#onChange?.(this.service, this.#on, share)
    }
    if (share === 0 || this.#clock.random() >= share) return undefined
    this.#tally.add(now, true)
    return 'throttled'
  }

  settle(attempt: Attempt | undefined, outcome: Outcome): void {
    if (outcome === NOT_STARTED || outcome.verdict === 'cancelled' || wasLeftBehind(outcome)) return
    const { code } = outcome
    this.#tally.add(attempt?.endedAt || this.#clock.now(), code === 'overloaded' || code === 'refused-by-peer')
  }
}
