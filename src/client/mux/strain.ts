/**
 * Tells when one connection to a peer is not enough: its bytes wait for the network, or the peer
 * answers pings late. A ping is answered by the loop of the peer, so a late answer means a busy
 * loop; behind one address there may be several processes.
 */
import type { MuxSession } from '../../mux/session.ts'

/** A connection with more queued than fills a fast network's delay is held up by it. */
const BACKLOG_BYTES = 131_072
/** Beyond the best round trip. Any busy loop has shorter turns. */
const LATE_MS = 50
/** Consecutive seconds, so that one garbage collection or one burst is no strain. */
const MOST_TICKS = 3

export class Strain {
  readonly #session: MuxSession
  #ticks = 0
  #best = Number.POSITIVE_INFINITY

  constructor(session: MuxSession) {
    this.#session = session
  }

  /** For some seconds, calls have waited on it for others. */
  get tooMuch(): boolean {
    return this.#ticks >= MOST_TICKS
  }

  /** Another connection has been opened. */
  relieved(): void {
    this.#ticks = 0
  }

  /** About once a second. Pings only while calls run. */
  tick(_now: number): void {
    const { open, backlog, roundTripMs } = this.#session
    if (open < 2) {
      this.#ticks = 0
      return
    }
    if (roundTripMs > 0) this.#best = Math.min(this.#best, roundTripMs)
    const late = roundTripMs - this.#best > LATE_MS
    this.#ticks = late || backlog > BACKLOG_BYTES ? this.#ticks + 1 : 0
    this.#session.ping()
  }
}
