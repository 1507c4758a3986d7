/**
 * A clock that only the test advances, with a seeded random source, so that policies and
 * simulations are deterministic.
 */
import type { Clock, Timer } from '../core/clock.ts'
import { type FakeTimer, TimerHeap } from './timer-heap.ts'

/**
 * A {@link Clock} for tests of guarded functions: `advance(ms)` fires what is due, in order, each
 * at its instant. Sockets do not follow it, so a mesh runs on the real clock.
 *
 * @example
 * ```ts
 * const clock = new FakeClock({ seed: 7 })
 * const quote = guard(neverAnswers, { timeout: '200ms', clock })
 * const asked = quote('sku-1')
 * clock.advance(200)
 * await assert.rejects(asked, { code: 'deadline-exceeded' })
 * ```
 */
export class FakeClock implements Clock {
  #now = 0
  #wallOffset: number
  #random: () => number
  #order = 0
  readonly #timers = new TimerHeap()
  #stalls: { endedAt: number; ms: number }[] = []

  constructor(options: { seed?: number; wallNow?: number } = {}) {
    this.#random = seededRandom(options.seed ?? 1)
    this.#wallOffset = options.wallNow ?? Date.UTC(2026, 0, 1)
  }

  now(): number {
    return this.#now
  }

  wallNow(): number {
    return this.#wallOffset + this.#now
  }

  random(): number {
    return this.#random()
  }

  startTimer<T>(ms: number, fire: (context: T) => void, context: T): Timer {
    const timer: FakeTimer = {
      at: this.#now + Math.max(0, ms),
      order: this.#order++,
      fire: () => fire(context),
      index: -1,
    }
    this.#timers.add(timer)
    return timer
  }

  startBackgroundTimer<T>(ms: number, fire: (context: T) => void, context: T): Timer {
    return this.startTimer(ms, fire, context)
  }

  stopTimer(timer: Timer): void {
    this.#timers.delete(timer as FakeTimer)
  }

  stalledMsSince(at: number): number {
    return this.#stalls.reduce((sum, s) => (s.endedAt > at ? sum + Math.min(s.ms, s.endedAt - at) : sum), 0)
  }

  /** How many timers are armed, so that a test can show that none leaks. */
  get timers(): number {
    return this.#timers.size
  }

  /**
   * Advances by `ms` and fires the timers that are due. Promise callbacks in between need {@link
   * settle}.
   */
  advance(ms: number): void {
    const until = this.#now + ms
    for (;;) {
      const next = this.#timers.first
      if (next === undefined || next.at > until) break
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.fire()
    }
    this.#now = until
  }

  /** Advances in steps and lets promise callbacks run in between. */
  async settle(ms = 0, stepMs = 1): Promise<void> {
    const until = this.#now + ms
    for (;;) {
      for (let i = 0; i < 20; i++) await Promise.resolve()
      if (this.#now >= until) return
      this.advance(Math.min(stepMs, until - this.#now))
    }
  }

  /** Simulates an event loop stalled for `ms`: time passes, timers fire late. */
  stall(ms: number): void {
    this.#now += ms
    this.#stalls.push({ endedAt: this.#now, ms })
    this.advance(0)
  }

  /** Sets the wall clock, as a time server does; the monotonic clock is unaffected. */
  jumpWall(ms: number): void {
    this.#wallOffset += ms
  }
}

/**
 * Mulberry32 (Tommy Ettinger, public domain): 32 bits of state, deterministic and good enough for
 * tests.
 */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
