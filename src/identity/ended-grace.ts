/**
 * How long calls go on after the end of their peer's certificate. Right after a stall of our own
 * event loop they have longer: the peer's next certificate may wait in a socket.
 */
const GRACE_MS = 1_000
const STALLED_GRACE_MS = 10_000

/** How often connections are looked at for certificates that have ended. */
export const LOOK_EVERY_MS = 1_000

export class EndedGrace {
  #lookedAt = 0

  /** In ms, at the look of `now` by the monotonic clock. */
  at(now: number): number {
    const isLate = now - this.#lookedAt >= 2 * LOOK_EVERY_MS
    this.#lookedAt = now
    return isLate ? STALLED_GRACE_MS : GRACE_MS
  }
}
