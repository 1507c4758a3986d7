/**
 * Real time that a test can skip, for leases that last longer than a busy machine needs for
 * anything. The wall clock goes on as it is: OpenSSL reads it, too.
 */
import { type Clock, systemClock, type Timer } from '../../src/core/clock.ts'

interface Armed {
  readonly at: number
  readonly fire: () => void
  readonly background: boolean
  handle: Timer
}

/** A session that sends heartbeats. */
export interface Beating {
  /** Resolves when the registry has heard it. */
  beat(): Promise<void>
}

/** Shorter than the leases of tests, by far. */
const STEP_MS = 5_000

export class SkippingClock implements Clock {
  #skippedMs = 0
  readonly #armed = new Set<Armed>()

  /** Timers that become due fire in their order, each in a turn of the event loop. */
  async skip(ms: number): Promise<void> {
    const until = this.now() + ms
    for (;;) {
      let next: Armed | undefined
      for (const one of this.#armed) if (one.at <= until && !(next !== undefined && next.at <= one.at)) next = one
      if (next === undefined) break
      this.#skippedMs += Math.max(0, next.at - this.now())
      this.stopTimer(next)
      next.fire()
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.#skippedMs += Math.max(0, until - this.now())
    // The others are due sooner than they were armed for.
    for (const one of this.#armed) {
      systemClock.stopTimer(one.handle)
      this.#arm(one)
    }
  }

  /** Skips time in which all of `sessions` go on beating. */
  async pass(ms: number, sessions: Iterable<Beating>): Promise<void> {
    for (let left = ms; left > 0; left -= STEP_MS) {
      await this.skip(Math.min(STEP_MS, left))
      await Promise.all([...sessions].map((session) => session.beat()))
    }
  }

  now(): number {
    return systemClock.now() + this.#skippedMs
  }

  wallNow(): number {
    return systemClock.wallNow()
  }

  random(): number {
    return systemClock.random()
  }

  startTimer<T>(ms: number, fire: (context: T) => void, context: T): Timer {
    return this.#start(ms, () => fire(context), false)
  }

  startBackgroundTimer<T>(ms: number, fire: (context: T) => void, context: T): Timer {
    return this.#start(ms, () => fire(context), true)
  }

  stopTimer(timer: Timer): void {
    if (this.#armed.delete(timer as Armed)) systemClock.stopTimer((timer as Armed).handle)
  }

  /** None: no lease of a test is as short as a stall. */
  stalledMsSince(): number {
    return 0
  }

  #start(ms: number, fire: () => void, background: boolean): Timer {
    const armed: Armed = { at: this.now() + ms, fire, background, handle: {} }
    this.#armed.add(armed)
    this.#arm(armed)
    return armed
  }

  #arm(armed: Armed): void {
    const ms = Math.max(0, armed.at - this.now())
    const fire = (): void => {
      if (this.#armed.delete(armed)) armed.fire()
    }
    armed.handle = armed.background
      ? systemClock.startBackgroundTimer(ms, fire, undefined)
      : systemClock.startTimer(ms, fire, undefined)
  }
}
