/**
 * Computes a concurrency limit from latency: the point beyond which more concurrent calls would
 * only queue. `ConcurrencyLimitPolicy` enforces it.
 *
 * - measuring -> measuring: a window is full; the algorithm moves the limit
 * - measuring -> probing: the baseline is old, or only guessed under load; the limit is halved for
 *   one window
 * - probing -> measuring: its window is full (its mean is the new baseline), or takes too long; the
 *   limit is as before
 */
import type { Clock } from '../../core/clock.ts'
import { type Outcome, wasLeftBehind } from '../../core/outcome.ts'
import { oneOf, withDefault } from '../../options/fields.ts'
import { integer } from '../../options/quantities.ts'
import { definePolicy, type OptionsOf, type PolicyDefinition, type SettingsOf } from '../define-policy.ts'
import { aimd, gradient2, LIMIT_ALGORITHMS, type LimitMemory, type LimitWindow, vegas } from './algorithms.ts'

const inProgress = integer({ min: 1, max: 1_000_000 })

const definition = definePolicy(
  'concurrency',
  {
    /**
     * `vegas` and `gradient2` find the limit by latency, for servers; `aimd` by losses, for
     * clients.
     * @defaultValue `'vegas'`
     */
    algorithm: withDefault(oneOf(LIMIT_ALGORITHMS), 'vegas'),
    /** The first limit. @defaultValue `20` (concurrency-limits) */
    initial: withDefault(inProgress, 20),
    /** The lower bound of the limit. @defaultValue `2` */
    min: withDefault(inProgress, 2),
    /** The upper bound of the limit; wins over `min`. @defaultValue `1000` (concurrency-limits) */
    max: withDefault(inProgress, 1_000),
  },
  // Values from two documents may not fit each other: the bounds win, `max` over `min`.
  ({ algorithm, initial, min, max }) => ({
    algorithm,
    min: Math.min(min, max),
    max,
    initial: Math.min(max, Math.max(min, initial)),
  }),
)

/** How a limit finds itself. */
export interface AdaptiveLimitOptions extends OptionsOf<typeof definition> {}
export interface AdaptiveLimitSettings extends SettingsOf<typeof definition> {}
export const ADAPTIVE_LIMIT: PolicyDefinition<AdaptiveLimitOptions, AdaptiveLimitSettings> = definition

/**
 * Long enough for several round trips, short enough to be back within seconds (Envoy's sample
 * window).
 */
const SHORTEST_WINDOW_MS = 100
/**
 * A window holds at least this, and four times the limit: about four round trips under load. The
 * mean of n samples is known to 1/sqrt(n), and the larger the limit the more a small error of it is
 * worth.
 */
const FEWEST_SAMPLES = 25
const ROUND_TRIPS = 4
/** A baseline is used for many windows, so it is worth more samples than one of them. */
const PROBE_ROUND_TRIPS = 8
/**
 * How long a baseline is believed (Envoy: `min_rtt_calc_params.interval`), times 0.5 to 1, so that
 * instances do not probe together.
 */
const BASELINE_FOR_MS = 60_000
/**
 * The first baseline was measured under an unknown load. A limit that has halved may be right, or
 * the work has become slower.
 */
const DOUBTFUL_BASELINE_FOR_MS = 3_000
/** After this number of mean durations at half the limit, the earlier queue is gone. */
const LEAD_IN = 3
/** A window this much faster than the baseline is no chance: the work has become faster. */
const FASTER = 0.7
/** A probe ends then, or after {@link PROBE_DURATIONS}, with the samples it has. */
const LONGEST_PROBE_MS = 5_000
const PROBE_DURATIONS = 30
const FEWEST_IN_PROBE = 10
const LONGEST_LEAD_IN_MS = 10_000
/** A single sample counts at most as this multiple of the baseline. */
const OUTLIER = 10
/**
 * If half the limit is this much faster, there was a queue; perhaps there still is one at half the
 * limit.
 */
const BETTER = 0.6

/** Told when the limit has moved by a fifth since it was last told, or has come to a bound. */
export type LimitListener = (limit: number, before: number) => void

export class AdaptiveLimit {
  readonly #clock: Clock
  readonly #onChange: LimitListener | undefined
  #settings: AdaptiveLimitSettings
  #limit: number
  #told: number
  readonly #memory: LimitMemory = { baselineMs: 0, longMs: 0 }
  #baselineUntil = Number.POSITIVE_INFINITY
  #baselineAt = 0
  #limitAtBaseline = 0
  /** From when on a probe counts; `undefined`: measuring. */
  #probeFrom: number | undefined = undefined
  /** Mean duration before the limit was halved. */
  #usualMs = 0

  #windowAt: number
  #count = 0
  #sumMs = 0
  #drops = 0
  #inFlight = 0

  constructor(settings: AdaptiveLimitSettings, clock: Clock, onChange?: LimitListener) {
    this.#settings = settings
    this.#clock = clock
    this.#onChange = onChange
    this.#limit = settings.initial
    this.#told = settings.initial
    this.#windowAt = clock.now()
  }

  /** Whole, at least 1. */
  get limit(): number {
    const limit = this.#probeFrom === undefined ? this.#limit : Math.max(this.#settings.min, this.#limit / 2)
    return Math.floor(limit)
  }

  /** New bounds; what was learned stays, unless the algorithm is another. */
  configure(settings: AdaptiveLimitSettings): void {
    if (settings.algorithm !== this.#settings.algorithm) this.#memory.longMs = 0
    this.#settings = settings
    this.#move(this.#limit)
  }

  /**
   * One attempt has ended. Work that failed or was given up says nothing about how long work takes.
   */
  sample(startedAt: number, inFlightAtStart: number, outcome: Outcome, endedAt = 0): void {
    const dropped = isDrop(outcome)
    if (!dropped && outcome.verdict !== 'success') return
    const now = endedAt || this.#clock.now()
    if (this.#probeFrom !== undefined) {
      if (now < this.#probeFrom) return
      if (now > this.#probeFrom + Math.max(LONGEST_PROBE_MS, PROBE_DURATIONS * this.#usualMs)) this.#decide(now)
    }
    if (this.#count + this.#drops === 0) this.#windowAt = Math.max(this.#windowAt, startedAt)
    if (inFlightAtStart > this.#inFlight) this.#inFlight = inFlightAtStart
    if (dropped) this.#drops += 1
    else {
      const ms = now - startedAt
      const { baselineMs } = this.#memory
      this.#count += 1
      // A long download or a stream of events is no sign of load: one of them must not be a whole
      // window's mean.
      this.#sumMs += baselineMs === 0 ? ms : Math.min(ms, OUTLIER * baselineMs)
    }
    const forBaseline = this.#probeFrom !== undefined || this.#memory.baselineMs === 0
    const trips = forBaseline && this.#settings.algorithm !== 'aimd' ? PROBE_ROUND_TRIPS : ROUND_TRIPS
    if (this.#count + this.#drops < Math.max(FEWEST_SAMPLES, trips * this.limit)) return
    if (now - this.#windowAt < SHORTEST_WINDOW_MS) return
    this.#decide(now)
  }

  #decide(now: number): void {
    const { algorithm } = this.#settings
    const memory = this.#memory
    const seen = this.#count + this.#drops
    const window: LimitWindow = {
      // All dropped: the duration is unknown, only that it is too long.
      meanMs: this.#count === 0 ? Number.POSITIVE_INFINITY : Math.max(this.#sumMs / this.#count, 0.001),
      inFlight: this.#inFlight,
      dropped: seen === 0 ? 0 : this.#drops / seen,
    }
    this.#begin(now)
    if (algorithm === 'aimd') {
      this.#move(aimd(this.#limit, window))
      return
    }
    if (this.#probeFrom !== undefined) {
      if (Number.isFinite(window.meanMs) && seen >= FEWEST_IN_PROBE) memory.baselineMs = window.meanMs
      this.#endProbe(now)
      if (window.meanMs < this.#usualMs * BETTER) this.#baselineUntil = now + DOUBTFUL_BASELINE_FOR_MS
      return
    }
    if (memory.baselineMs === 0) {
      if (!Number.isFinite(window.meanMs)) {
        this.#move(this.#limit * 0.9)
        return
      }
      memory.baselineMs = window.meanMs
      this.#baselineUntil = now + DOUBTFUL_BASELINE_FOR_MS
    } else if (window.meanMs < memory.baselineMs * FASTER) memory.baselineMs = window.meanMs
    if (now >= this.#baselineUntil || this.#doubtful(now)) {
      if (2 * window.inFlight >= this.#limit) {
        this.#usualMs = Math.min(window.meanMs, LONGEST_LEAD_IN_MS / LEAD_IN)
        this.#probeFrom = now + LEAD_IN * this.#usualMs
        return
      }
      // Far from the limit there is no queue: what was just measured is the baseline.
      if (Number.isFinite(window.meanMs)) memory.baselineMs = window.meanMs
      this.#endProbe(now)
    }
    this.#move(algorithm === 'vegas' ? vegas(this.#limit, window, memory) : gradient2(this.#limit, window, memory))
  }

  #doubtful(now: number): boolean {
    return this.#limit < this.#limitAtBaseline / 2 && now - this.#baselineAt >= DOUBTFUL_BASELINE_FOR_MS
  }

  #endProbe(now: number): void {
    this.#probeFrom = undefined
    this.#baselineAt = now
    this.#limitAtBaseline = this.#limit
    this.#baselineUntil = now + BASELINE_FOR_MS * (0.5 + this.#clock.random() / 2)
    this.#begin(now)
  }

  #begin(now: number): void {
    this.#windowAt = now
    this.#count = 0
    this.#sumMs = 0
    this.#drops = 0
    this.#inFlight = 0
  }

  #move(to: number): void {
    const { min, max } = this.#settings
    this.#limit = Math.min(max, Math.max(min, to))
    const whole = Math.floor(this.#limit)
    const before = this.#told
    const edge = whole !== before && (whole === min || whole === max)
    if (!edge && Math.abs(whole - before) < Math.max(1, before / 5)) return
    this.#told = whole
    this.#onChange?.(whole, before)
  }
}

/** It took too long, or was turned away as too much. */
function isDrop(outcome: Outcome): boolean {
  if (outcome.verdict === 'success' || outcome.verdict === 'cancelled' || wasLeftBehind(outcome)) return false
  const { code } = outcome
  return (
    code === 'deadline-exceeded' || code === 'attempt-timeout' || code === 'overloaded' || code === 'refused-by-peer'
  )
}
