/**
 * One timer for the deadlines of all calls in flight. Nearly every call ends long before its
 * deadline, and a timer for each would cost 2.5 µs.
 */
import type { Clock, Timer } from '../core/clock.ts'

export interface Expirable {
  /** When to call {@link expire}, which may set a later instant. */
  dueAt: number
  expire(): void
}

/** Deadlines this close together expire in one sweep, late by at most this. */
const MIN_INTERVAL_MS = 4

export class DeadlineSweep {
  readonly #clock: Clock
  readonly #running: Iterable<Expirable>
  #armedFor = Number.POSITIVE_INFINITY
  #timer: Timer | undefined

  /** Watches everything in `running`. */
  constructor(clock: Clock, running: Iterable<Expirable>) {
    this.#clock = clock
    this.#running = running
  }

  /** `watched` is new, or its instant has moved. */
  watch(watched: Expirable, now: number): void {
    if (watched.dueAt < this.#armedFor) this.#arm(watched.dueAt, now)
  }

  stop(): void {
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#timer = undefined
    this.#armedFor = Number.POSITIVE_INFINITY
  }

  #arm(dueAt: number, now: number): void {
    this.stop()
    this.#armedFor = dueAt
    this.#timer = this.#clock.startBackgroundTimer(Math.max(0, dueAt - now), sweep, this)
  }

  /** @internal */
  sweep(): void {
    this.#timer = undefined
    this.#armedFor = Number.POSITIVE_INFINITY
    const now = this.#clock.now()
    let next = Number.POSITIVE_INFINITY
    for (const watched of this.#running) {
      // A timer may fire up to a millisecond early.
      if (watched.dueAt <= now + 1) watched.expire()
      else if (watched.dueAt < next) next = watched.dueAt
    }
    // An expired call may have set a later instant and armed the timer for it.
    if (next < this.#armedFor) this.#arm(Math.max(next, now + MIN_INTERVAL_MS), now)
  }
}

function sweep(deadlines: DeadlineSweep): void {
  deadlines.sweep()
}
