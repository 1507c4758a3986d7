/**
 * Finds idle destinations to forget. Names without endpoints, which strangers may invent, go after
 * two looks without a use; others go after half an hour.
 */
import type { Destination } from '../client/destination.ts'

/** Between two looks. */
export const LOOK_MS = 60_000
/** A destination is forgotten after this many looks without a use. */
const LOOKS_WITHOUT_ENDPOINTS = 2
const LOOKS_WITH_ENDPOINTS = 30
/** A service that exists may make room after this many. */
const LOOKS_TO_MAKE_ROOM = 5

interface Seen {
  uses: number
  /** Looks since the last use. */
  idle: number
}

export class IdleDestinations {
  readonly #seen = new WeakMap<Destination, Seen>()

  /** Takes a look; returns the destinations to forget. */
  look(destinations: Iterable<Destination>): Destination[] {
    return [...destinations].filter((destination) => {
      const { uses } = destination
      const seen = this.#seen.get(destination) ?? { uses: -1, idle: 0 }
      this.#seen.set(destination, seen)
      seen.idle = seen.uses === uses && !destination.busy ? seen.idle + 1 : 0
      seen.uses = uses
      if (destination.busy) return false
      return seen.idle >= (destination.served ? LOOKS_WITH_ENDPOINTS : LOOKS_WITHOUT_ENDPOINTS)
    })
  }

  /** The destination that makes room for another: the oldest one without endpoints. */
  first(destinations: Iterable<Destination>): Destination | undefined {
    let served: Destination | undefined
    for (const destination of destinations) {
      if (destination.busy) continue
      if (!destination.served) return destination
      if ((this.#seen.get(destination)?.idle ?? 0) >= LOOKS_TO_MAKE_ROOM) served ??= destination
    }
    return served
  }
}
