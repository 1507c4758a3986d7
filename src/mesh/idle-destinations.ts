/**
 * Which destinations nobody uses. Names may come from strangers, so those that nobody serves make
 * room for one that somebody calls now; a service that exists is forgotten only after half an hour,
 * because what is known of it is worth keeping.
 */
import type { Destination } from '../client/destination.ts'

/** Between two looks. */
export const LOOK_MS = 60_000
/** Looks without a use after which a destination is forgotten. */
const LOOKS_WITHOUT_ENDPOINTS = 2
const LOOKS_WITH_ENDPOINTS = 30
/** Looks after which a service that exists may make room. */
const LOOKS_TO_MAKE_ROOM = 5

interface Seen {
  uses: number
  /** Looks since the last use. */
  idle: number
}

export class IdleDestinations {
  readonly #seen = new WeakMap<Destination, Seen>()

  /** Takes a look; returns those that have been idle for so long that they are forgotten. */
  look(destinations: Iterable<Destination>): Destination[] {
    return [...destinations].filter((destination) => {
      const { uses } = destination
      const seen = this.#seen.get(destination) ?? { uses: -1, idle: 0 }
      this.#seen.set(destination, seen)
      seen.idle = seen.uses === uses && !destination.busy ? seen.idle + 1 : 0
      seen.uses = uses
      if (destination.busy) return false
      return seen.idle >= (isServed(destination) ? LOOKS_WITH_ENDPOINTS : LOOKS_WITHOUT_ENDPOINTS)
    })
  }

  /** The one to forget for another: the first of those that nobody serves, which is the oldest. */
  first(destinations: Iterable<Destination>): Destination | undefined {
    let served: Destination | undefined
    for (const destination of destinations) {
      if (destination.busy) continue
      if (!isServed(destination)) return destination
      if ((this.#seen.get(destination)?.idle ?? 0) >= LOOKS_TO_MAKE_ROOM) served ??= destination
    }
    return served
  }
}

function isServed({ cluster }: Destination): boolean {
  return cluster.endpoints.length > 0
}
