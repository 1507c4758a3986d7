/**
 * Stops a server without losing a request. It keeps serving while clients learn of the withdrawal,
 * then finishes its calls, and cancels the rest.
 *
 * - `serving` → `lame-duck`: started
 * - `lame-duck` → `finishing`: all clients have seen the withdrawal, its bound has passed, or
 *   hastened
 * - `finishing` → `closed`: no call is in flight, the grace has passed, or hastened
 */
import type { Clock, Timer } from '../core/clock.ts'

export type DrainState = 'serving' | 'lame-duck' | 'finishing' | 'closed'

export interface DrainOptions {
  /**
   * How long to keep serving at most, while clients learn of the withdrawal. @defaultValue 2000
   */
  readonly lameDuckMs?: number
  /**
   * Resolves when all watchers have seen the withdrawal, which ends the lame duck early. Requests
   * may still be on their way, so it lasts another tenth of the bound, at most 500 ms. A rejection
   * counts as resolved.
   */
  readonly seen?: Promise<unknown>
  /**
   * How long calls in flight may take to finish. @defaultValue 25000, less than the 30 s of
   * Kubernetes
   */
  readonly graceMs?: number
}

export interface DrainReport {
  /** Requests that ended by themselves after the drain began. */
  readonly finished: number
  /** Requests that were cancelled at the end of the grace. */
  readonly cancelled: number
}

/** A server that can be drained. None of its methods may throw. */
export interface Drainable {
  /** Calls in flight. */
  readonly inFlight: number
  /** From now on, answers ask their clients to leave. */
  retire(): void
  stopAccepting(): void
  /** Cancels and answers the calls in flight, and returns their number. */
  cancelAll(): number
  /** Resolves when no connection is left, within a bound. */
  closeConnections(): Promise<void>
}

const LAME_DUCK_MS = 2_000
const GRACE_MS = 25_000
/** A handshake and a request over a round trip of 120 ms. */
const MAX_TRANSIT_MS = 500

export class Drain {
  state: DrainState = 'serving'
  readonly #server: Drainable
  readonly #clock: Clock
  #report: Promise<DrainReport> | undefined
  #finished = 0
  #hastened = false
  /** Ends the wait in the present state. */
  #next: (() => void) | undefined

  constructor(server: Drainable, clock: Clock) {
    this.#server = server
    this.#clock = clock
  }

  /** Uses the options of the first call; all calls get the same report. Never rejects. */
  start(options: DrainOptions = {}): Promise<DrainReport> {
    this.#report ??= this.#run(options)
    return this.#report
  }

  /** Stops waiting: cancels the calls in flight and closes. */
  hasten(): void {
    this.#hastened = true
    this.#next?.()
  }

  /** The server calls this for every call that ends. */
  callEnded(): void {
    if (this.state === 'serving') return
    this.#finished += 1
    if (this.state === 'finishing' && this.#server.inFlight === 0) this.#next?.()
  }

  async #run({ lameDuckMs = LAME_DUCK_MS, graceMs = GRACE_MS, seen }: DrainOptions): Promise<DrainReport> {
    this.state = 'lame-duck'
    this.#server.retire()
    if (lameDuckMs > 0) {
      // Resolved later, it would end the wait of another state.
      let waiting = true
      const next = (): void => {
        if (waiting) this.#next?.()
      }
      seen?.then(next, next)
      const until = this.#clock.now() + lameDuckMs
      await this.#wait(lameDuckMs)
      waiting = false
      const leftMs = Math.min(lameDuckMs / 10, MAX_TRANSIT_MS, until - this.#clock.now())
      if (leftMs > 0) await this.#wait(leftMs)
    }

    this.state = 'finishing'
    this.#server.stopAccepting()
    if (this.#server.inFlight > 0 && graceMs > 0) await this.#wait(graceMs)

    const finished = this.#finished
    const cancelled = this.#server.cancelAll()
    await this.#server.closeConnections()
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
