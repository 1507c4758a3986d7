/** One instance's share of a rate, and the demand that it meets there. */
import type { Clock } from '../../core/clock.ts'
import { DemandMeter } from './demand-meter.ts'
import { RATES, RateLimitPolicy } from './rate-limit.ts'

/**
 * A quarter of a second: enough for chance, and an idle service that is called all at once exceeds
 * its rate by no more than that.
 */
const BURST_S = 0.25
/** A share of few requests per second would refuse most of what comes by chance. */
const LEAST_BURST = 4
/** Of the requests: more are not refused by chance. */
const REFUSED = 0.2
/** Relative changes that are not worth a message. */
const CHANGE = 0.05

export class LeasedShare {
  readonly meter = new DemandMeter()
  readonly limit: RateLimitPolicy
  #perSecond: number
  /** As the registry knows it. */
  #reported = 0
  /** Instant of the last sample with a request. */
  usedAt = Number.NEGATIVE_INFINITY
  /** Requests refused since the last report. Counted by the policy. */
  refused = 0
  #offered = 0

  constructor(perSecond: number, clock: Clock) {
    this.#perSecond = perSecond
    this.limit = new RateLimitPolicy({ ...settingsOf(perSecond), maxWaitMs: undefined }, clock)
  }

  get perSecond(): number {
    return this.#perSecond
  }

  set perSecond(perSecond: number) {
    if (perSecond === this.#perSecond) return
    this.#perSecond = perSecond
    this.limit.configure(settingsOf(perSecond))
  }

  /** It has refused more than chance would since the last report. */
  get isShort(): boolean {
    return this.refused > REFUSED * (this.#offered + this.meter.offered)
  }

  /** Ends a sample of `ms`. Returns whether the demand has moved sharply. */
  sample(ms: number): boolean {
    this.#offered += this.meter.offered
    return this.meter.sample(ms)
  }

  /** The registry knows less, or more, than there is. */
  get isNews(): boolean {
    const wanted = this.meter.wanted(this.isShort)
    return wanted === 0 ? this.#reported > 0 : Math.abs(wanted - this.#reported) > CHANGE * this.#reported
  }

  /** The demand as the registry knows it from now on. */
  report(): number {
    this.#reported = this.meter.wanted(this.isShort)
    this.refused = 0
    this.#offered = 0
    // Three decimals: the least rate is 0.001/s.
    return Math.round(this.#reported * 1_000) / 1_000
  }
}

function settingsOf(perSecond: number): { readonly ratePerSecond: number; readonly burst: number } {
  const ratePerSecond = Math.max(perSecond, RATES.min)
  return { ratePerSecond, burst: Math.max(LEAST_BURST, BURST_S * ratePerSecond) }
}
