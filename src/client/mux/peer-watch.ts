/**
 * Watches the peer of a connection on which calls run, by a PING a second. The loop of the peer
 * answers them, so a late answer means that it is busy, and none that it is frozen or gone.
 */
import type { Clock } from '../../core/clock.ts'
import type { MuxSession } from '../../mux/session.ts'

/** More than this in the socket means that calls wait for the network. */
const BACKLOG_BYTES = 131_072
/** Beyond the best round trip. The turns of a loop that has time are shorter. */
const LATE_MS = 50
/** In a row, so that one burst or one garbage collection is no strain. */
const MOST_TICKS = 3
/** An unanswered PING and nothing else in this time: calls had better go elsewhere. */
const SILENT_MS = 1_000

export class PeerWatch {
  readonly #session: MuxSession
  readonly #clock: Clock
  #askedAt = 0
  #bestMs = Number.POSITIVE_INFINITY
  #strainedTicks = 0
  #silent = false

  constructor(session: MuxSession, clock: Clock) {
    this.#session = session
    this.#clock = clock
  }

  /**
   * For some seconds, calls have waited for each other: the network or the loop of the peer is
   * busy. Behind one address there may be several processes.
   */
  get strained(): boolean {
    return this.#strainedTicks >= MOST_TICKS
  }

  /** The peer owes an answer, and sends nothing at all. */
  get silent(): boolean {
    if (this.#silent && this.#session.heardAt > this.#askedAt) this.#silent = false
    return this.#silent
  }

  /** About once a second. */
  tick(now: number): void {
    const { open, backlog, heardAt, roundTripMs } = this.#session
    if (open === 0) {
      this.#strainedTicks = 0
      this.#askedAt = 0
      return
    }
    if (this.#askedAt > heardAt) {
      // After a stall of our loop, the answer may wait in the socket.
      const stalledMs = this.#clock.stalledMsSince(this.#askedAt)
      this.#silent = now - this.#askedAt - stalledMs >= SILENT_MS
      return
    }
    if (roundTripMs > 0) this.#bestMs = Math.min(this.#bestMs, roundTripMs)
    const late = roundTripMs - this.#bestMs > LATE_MS
    this.#strainedTicks = late || backlog > BACKLOG_BYTES ? this.#strainedTicks + 1 : 0
    this.#askedAt = now
    this.#session.ping()
  }
}
