/**
 * Watches the peer of a connection on which calls run, by PINGs. The loop of the peer answers them,
 * so a late answer means that it is busy, and none that it is frozen or gone.
 */
import type { Clock } from '../../core/clock.ts'
import type { MuxSession } from '../../mux/session.ts'

/** More than this in the socket means that calls wait for the network. */
const BACKLOG_BYTES = 131_072
/** With less credit of the peer for all streams together, their bodies wait. */
const LEAST_CREDIT_BYTES = 16_448
/** Beyond the best round trip. The turns of a loop that has time are shorter. */
const LATE_MS = 50
/** In a row, so that one burst or one garbage collection is no strain. */
const MOST_TICKS = 3
/** Calls begin while others wait for a peer that has sent nothing for this time: it is asked. */
const QUIET_MS = 100
/** An unanswered PING and nothing else in this time: calls are held back, unsent. */
const HELD_MS = 250
/** A distant peer needs longer: a multiple of the best round trip. */
const HELD_ROUND_TRIPS = 3
/** As long, and calls had better go elsewhere. */
const SILENT_MS = 1_000

export class PeerWatch {
  readonly #session: MuxSession
  readonly #clock: Clock
  #askedAt = 0
  /** The best round trip; 0: not known. */
  #bestMs = 0
  #strainedTicks = 0

  constructor(session: MuxSession, clock: Clock) {
    this.#session = session
    this.#clock = clock
  }

  /**
   * For some seconds, calls have waited for each other: the network or the loop of the peer is
   * busy, or its handlers read none of their bodies. Behind one address there may be several
   * processes.
   */
  get strained(): boolean {
    return this.#strainedTicks >= MOST_TICKS
  }

  /** The peer owes an answer and sends nothing: what is sent now may be lost. */
  get hesitant(): boolean {
    return this.#owes >= Math.min(SILENT_MS, Math.max(HELD_MS, HELD_ROUND_TRIPS * this.#bestMs))
  }

  /** The same for so long that calls had better go elsewhere. */
  get silent(): boolean {
    return this.#owes >= SILENT_MS
  }

  /** A call begins, and others wait. */
  begun(): void {
    const { heardAt } = this.#session
    if (this.#askedAt > heardAt) return
    const now = this.#clock.now()
    if (now - heardAt >= QUIET_MS) this.#ask(now)
  }

  /** About once a second. */
  tick(now: number): void {
    const { open, backlog, heardAt, roundTripMs } = this.#session
    if (open === 0) {
      this.#strainedTicks = 0
      this.#askedAt = 0
      return
    }
    if (this.#askedAt > heardAt) return
    const late = this.#bestMs > 0 && roundTripMs - this.#bestMs > LATE_MS
    const strained = late || backlog > BACKLOG_BYTES || this.#session.send.credit < LEAST_CREDIT_BYTES
    this.#strainedTicks = strained ? this.#strainedTicks + 1 : 0
    this.#ask(now)
  }

  /** How long the peer has owed an answer and sent nothing at all, in ms. */
  get #owes(): number {
    const askedAt = this.#askedAt
    if (askedAt <= this.#session.heardAt) return 0
    // After a stall of our loop, the answer may wait in the socket.
    return this.#clock.now() - askedAt - this.#clock.stalledMsSince(askedAt)
  }

  #ask(now: number): void {
    const { roundTripMs } = this.#session
    if (roundTripMs > 0) this.#bestMs = this.#bestMs > 0 ? Math.min(this.#bestMs, roundTripMs) : roundTripMs
    this.#askedAt = now
    this.#session.ping()
  }
}
