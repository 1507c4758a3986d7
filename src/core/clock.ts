/**
 * Time and randomness behind one interface, so that tests can replace both. Instants are
 * milliseconds on the monotonic clock; the wall clock may jump and serves certificates and tokens
 * only.
 */
import { Xoroshiro } from './xoroshiro.ts'

/** Returned by {@link Clock.startTimer}, and accepted by {@link Clock.stopTimer} only. */
export type Timer = object

/** The source of time and randomness for the whole library. */
export interface Clock {
  /** The monotonic clock, in ms. */
  now(): number
  /** The wall clock, in ms since 1970. */
  wallNow(): number
  /** A number in [0, 1). */
  random(): number
  /** Calls `fire(context)` once after `ms`, and keeps the process alive until then. */
  startTimer<T>(ms: number, fire: (context: T) => void, context: T): Timer
  /** The same for housekeeping: it does not keep the process alive. */
  startBackgroundTimer<T>(ms: number, fire: (context: T) => void, context: T): Timer
  stopTimer(timer: Timer): void
  /**
   * Time in ms that our event loop has stalled since `at`. A duration that overlaps a stall says
   * nothing about the peer, so code that learns from durations checks this first.
   */
  stalledMsSince(at: number): number
}

/** The largest delay of a Node timer. A larger one would fire at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1

/** Sampling interval while many callers ask, and the lateness that counts as a stall. */
const SAMPLE_MS = 20
const STALL_MS = 20
/**
 * The interval doubles up to this while few callers ask, because each wake-up of a sleeping process
 * costs 75 µs of CPU: 4 ms a second in an idle registry.
 */
const SAMPLE_AT_MOST_MS = 160
/** Reads within one interval from which on many callers ask. */
const MANY = 4
/** Sampling stops after this long without a read, so that an idle process has no timers. */
const IDLE_MS = 2_000

/**
 * A timer of more than {@link LONGEST_TIMER_MS}, as for long streams: several Node timers in turn.
 */
class LongTimer<T> {
  handle!: NodeJS.Timeout
  readonly #fire: (context: T) => void
  readonly #context: T
  readonly #background: boolean
  #leftMs: number

  constructor(ms: number, fire: (context: T) => void, context: T, background: boolean) {
    this.#leftMs = ms
    this.#fire = fire
    this.#context = context
    this.#background = background
    this.#next()
  }

  #next(): void {
    const ms = Math.min(this.#leftMs, LONGEST_TIMER_MS)
    this.#leftMs -= ms
    this.handle = setTimeout(() => (this.#leftMs > 0 ? this.#next() : this.#fire(this.#context)), ms)
    if (this.#background) this.handle.unref()
  }
}

class SystemClock implements Clock {
  /**
   * Never runs backwards. A test that fakes `performance.now` starts at 0, and breakers would stay
   * open until it caught up.
   */
  readonly now = (): number => {
    const now = performance.now() + this.#ahead
    if (now >= this.#last) {
      this.#last = now
      return now
    }
    this.#ahead += this.#last - now
    return this.#last
  }
  readonly wallNow = (): number => Date.now()
  readonly random = (): number => this.#numbers.next()

  readonly #numbers = Xoroshiro.seeded()
  #last = 0
  #ahead = 0
  #sampler: NodeJS.Timeout | undefined
  #sampledAt = 0
  /** Until the sample after that. */
  #sampleMs = SAMPLE_MS
  #askedAt = 0
  /** Since the last sample. */
  #asked = 0
  #stalls: { endedAt: number; ms: number }[] = []

  startTimer<T>(ms: number, fire: (context: T) => void, context: T): Timer {
    return ms > LONGEST_TIMER_MS ? new LongTimer(ms, fire, context, false) : setTimeout(fire, ms, context)
  }

  startBackgroundTimer<T>(ms: number, fire: (context: T) => void, context: T): Timer {
    return ms > LONGEST_TIMER_MS ? new LongTimer(ms, fire, context, true) : setTimeout(fire, ms, context).unref()
  }

  stopTimer(timer: Timer): void {
    clearTimeout(timer instanceof LongTimer ? timer.handle : (timer as NodeJS.Timeout))
  }

  stalledMsSince(at: number): number {
    const now = this.now()
    this.#askedAt = now
    this.#asked += 1
    if (this.#sampler === undefined) {
      this.#sampledAt = now
      this.#sampleIn(SAMPLE_MS)
    } else if (now - this.#sampledAt > this.#sampleMs + STALL_MS) {
      // The sampler has not run yet: this code is the first after the stall.
      this.#note(now)
    } else if (this.#asked === MANY && this.#sampleMs > SAMPLE_MS) {
      clearTimeout(this.#sampler)
      this.#sampledAt = now
      this.#sampleIn(SAMPLE_MS)
    }
    let ms = 0
    for (let i = this.#stalls.length - 1; i >= 0; i--) {
      const stall = this.#stalls[i]!
      if (stall.endedAt <= at) break
      ms += Math.min(stall.ms, stall.endedAt - at)
    }
    return ms
  }

  #sampleIn(ms: number): void {
    this.#sampleMs = ms
    this.#sampler = setTimeout(() => this.#sample(), ms).unref()
  }

  #sample(): void {
    const now = this.now()
    this.#note(now)
    if (now - this.#askedAt > IDLE_MS) {
      this.#sampler = undefined
      this.#stalls = []
      return
    }
    const many = this.#asked >= MANY
    this.#asked = 0
    this.#sampleIn(many ? SAMPLE_MS : Math.min(this.#sampleMs * 2, SAMPLE_AT_MOST_MS))
  }

  #note(now: number): void {
    const late = now - this.#sampledAt - this.#sampleMs
    this.#sampledAt = now
    if (late <= STALL_MS) return
    this.#stalls.push({ endedAt: now, ms: late })
    if (this.#stalls.length > 64) this.#stalls.shift()
    // No caller could ask during the stall, so it does not count as time without reads.
    this.#askedAt += late
  }
}

/** The real clock of this process. */
export const systemClock: Clock = new SystemClock()

/** Resolves after `ms` on `clock`. */
export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.startTimer(ms, resolve, undefined)
  })
}
