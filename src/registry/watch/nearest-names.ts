/**
 * Suggests a registered name to those who watch one that is unknown. Bounded, because any process
 * may watch a thousand made-up names.
 */
import type { Clock } from '../../core/clock.ts'
import { nearest } from '../../options/nearest.ts'
import type { ServiceEntry } from '../service-entry.ts'

/** A search takes up to 5 ms. */
const MOST_COMPARED = 2_000
const SEARCHES_PER_SECOND = 5
const SECOND_MS = 1_000

export class NearestNames {
  readonly #services: () => ReadonlyMap<string, ServiceEntry>
  readonly #clock: Clock
  #since = Number.NEGATIVE_INFINITY
  #searches = 0

  constructor(services: () => ReadonlyMap<string, ServiceEntry>, clock: Clock) {
    this.#services = services
    this.#clock = clock
  }

  /** The name with instances that `name` may be meant to be; `undefined`: none, or too busy. */
  to(name: string): string | undefined {
    const now = this.#clock.now()
    if (now - this.#since >= SECOND_MS) {
      this.#since = now
      this.#searches = 0
    }
    if (this.#searches >= SEARCHES_PER_SECOND) return undefined
    this.#searches += 1
    return nearest(name, registered(this.#services().values()))
  }
}

function* registered(services: Iterable<ServiceEntry>): Generator<string> {
  let compared = 0
  for (const { name, instances } of services) {
    if (instances.size === 0) continue
    yield name
    if (++compared >= MOST_COMPARED) return
  }
}
