/**
 * How a server goes away without losing a request: first it is withdrawn from discovery (by the
 * mesh), then it goes on serving while clients find out, then it takes no more connections,
 * finishes what runs, and cancels what does not finish. The order matters more than retries do
 * (faults-and-attacks 0.32, F56).
 *
 * - `serving` → `lame-duck`: start
 * - `lame-duck` → `finishing`: all clients have seen it a while ago, or the bound has passed, or
 *   hasten
 * - `finishing` → `closed`: nothing runs any more, or the grace has passed (the rest is cancelled),
 *   or hasten
 */
import type { Clock, Timer } from '../core/clock.ts'

export type DrainState = 'serving' | 'lame-duck' | 'finishing' | 'closed'

export interface DrainOptions {
  /**
   * How long to go on serving at most, so that clients see the withdrawal. @defaultValue 2000 (F56)
   */
  readonly lameDuckMs?: number
  /**
   * Ends the lame duck early: all watchers have seen the withdrawal. What they sent before may
   * still be on its way, so it goes on for a tenth of the bound, 500 ms at most. A rejection counts
   * as resolved.
   */
  readonly seen?: Promise<unknown>
  /**
   * How long requests in progress may take to finish. @defaultValue 25000 (F56: less than the 30 s
   * of Kubernetes)
   */
  readonly graceMs?: number
}

export interface DrainReport {
  /** Requests that were in progress, or came in, after the drain began and ended by themselves. */
  readonly finished: number
  /** Requests that were cancelled because the grace had passed. */
  readonly cancelled: number
}

/** What a door offers to be drained. None of it may throw. */
export interface Drainable {
  /** Calls in progress. */
  readonly inFlight: number
  /** From now on answers ask the client to leave. */
  retire(): void
  stopAccepting(): void
  /** Cancels and answers what still runs; says how many. */
  cancelAll(): number
  /** Resolves when no connection is left; bounded by the door itself. */
  closeConnections(): Promise<void>
}

const LAME_DUCK_MS = 2_000
const GRACE_MS = 25_000
/** Enough for a handshake and a request over a distance of 120 ms there and back. */
const LONGEST_WAY_MS = 500

export class Drain {
  state: DrainState = 'serving'
  readonly #door: Drainable
  readonly #clock: Clock
  #report: Promise<DrainReport> | undefined
  #finished = 0
  #hastened = false
  /** Ends the wait of the present state. */
  #next: (() => void) | undefined

  constructor(door: Drainable, clock: Clock) {
    this.#door = door
    this.#clock = clock
  }

  /** Only the first call's options count; all get the same report. Never rejects. */
  start(options: DrainOptions = {}): Promise<DrainReport> {
    this.#report ??= this.#run(options)
    return this.#report
  }

  /** No more waiting: cancels what runs and closes. */
  hasten(): void {
    this.#hastened = true
    this.#next?.()
  }

  /** To be told of every call that ends. */
  callEnded(): void {
    if (this.state === 'serving') return
    this.#finished += 1
    if (this.state === 'finishing' && this.#door.inFlight === 0) this.#next?.()
  }

  async #run({ lameDuckMs = LAME_DUCK_MS, graceMs = GRACE_MS, seen }: DrainOptions): Promise<DrainReport> {
    this.state = 'lame-duck'
    this.#door.retire()
    if (lameDuckMs > 0) {
      // Later it would end another wait, and what runs with it.
      let waiting = true
      const next = (): void => {
        if (waiting) this.#next?.()
      }
      seen?.then(next, next)
      const until = this.#clock.now() + lameDuckMs
      await this.#wait(lameDuckMs)
      waiting = false
      const leftMs = Math.min(lameDuckMs / 10, LONGEST_WAY_MS, until - this.#clock.now())
      if (leftMs > 0) await this.#wait(leftMs)
    }

    this.state = 'finishing'
    this.#door.stopAccepting()
    if (this.#door.inFlight > 0 && graceMs > 0) await this.#wait(graceMs)

    const finished = this.#finished
    const cancelled = this.#door.cancelAll()
    await this.#door.closeConnections()
    this.state = 'closed'
    return { finished, cancelled }
  }

  #wait(ms: number): Promise<void> {
    if (this.#hastened) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        this.#clock.stopTimer(timer)
        this.#next = undefined
        resolve()
      }
      const timer: Timer = this.#clock.startTimer(ms, done, undefined)
      this.#next = done
    })
  }
}
