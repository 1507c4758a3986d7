/**
 * The mirrors in flight to one destination. They are bounded, because a target that hangs must not
 * cost its callers more.
 */

/** More would show nothing new of the target. */
export const MOST_IN_FLIGHT = 64

/** A mirror that can be given up at any time. */
export interface Abandonable {
  abandon(): void
}

/** Why a call that was drawn for a mirror was not mirrored. */
export type MirrorDrop =
  | 'in-flight'
  | 'body-too-large'
  | 'body-not-kept'
  | 'request-incomplete'
  | 'no-endpoints'
  | 'closed'

export class MirrorsInFlight {
  readonly #running = new Set<Abandonable>()
  #closed = false

  get size(): number {
    return this.#running.size
  }

  /** Takes a place until {@link leave}, or says why there is none. */
  enter(mirror: Abandonable): MirrorDrop | undefined {
    if (this.#closed) return 'closed'
    if (this.#running.size >= MOST_IN_FLIGHT) return 'in-flight'
    this.#running.add(mirror)
    return undefined
  }

  leave(mirror: Abandonable): void {
    this.#running.delete(mirror)
  }

  /** Gives up all that run: a process that closes does not wait for them. */
  close(): void {
    this.#closed = true
    for (const mirror of [...this.#running]) mirror.abandon()
  }
}
