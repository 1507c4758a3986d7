/**
 * Time and chance, behind one interface so that every policy can be tested on a fake clock with a
 * seeded random source. Instants are milliseconds on the monotonic clock; the wall clock is for
 * certificates and tokens only, because it jumps.
 */

/** What {@link Clock.startTimer} returns; opaque, only good for {@link Clock.stopTimer}. */
export type Timer = object

/** The source of time and chance of everything in this library. */
export interface Clock {
  /** The monotonic clock, in ms. */
  now(): number
  /** The wall clock, in ms since 1970. */
  wallNow(): number
  /** A number in [0, 1). */
  random(): number
  /** Calls `fire(context)` once after `ms`; keeps the process alive until then. */
  startTimer<T>(ms: number, fire: (context: T) => void, context: T): Timer
  /** The same for housekeeping: never keeps the process alive. */
  startBackgroundTimer<T>(ms: number, fire: (context: T) => void, context: T): Timer
  stopTimer(timer: Timer): void
  /**
   * For how many ms our event loop stalled since `at`. A duration that overlaps a stall says
   * nothing about the peer, so estimators check this first.
   */
  stalledMsSince(at: number): number
}

/** The largest delay a Node timer keeps; above it, it would fire at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1

/** How often the loop is sampled while many ask, and how late a sample counts as a stall. */
const SAMPLE_MS = 20
const STALL_MS = 20
/**
 * In an idle process each wake-up costs 75 µs of CPU: a registry without traffic spent 4 ms a
 * second on samples. So the interval doubles while few ask, up to this.
 */
const SAMPLE_AT_MOST_MS = 160
/** This many questions per sample count as many. */
const MANY = 4
/** Sampling stops when it was not asked for this long, so that an idle process has no timers. */
const IDLE_MS = 2_000

/**
 * A timer of more than {@link LONGEST_TIMER_MS}, of several of Node's in turn: a stream may run for
 * longer.
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
   * Never goes back: a test that fakes `performance.now` begins at 0, and every breaker would stay
   * open until it catches up.
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
  readonly random = (): number => Math.random()

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
      // The sampler itself has not run yet: this code is the first after the stall.
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
    // The loop was stalled, so no caller could ask in that time, and it does not count as idle.
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
