/**
 * The health of one failover level. It does not panic while all levels together carry the load: the
 * others take what its ejected endpoints cannot.
 */
import type { Call } from '../../core/call.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { ClusterHealth } from '../../core/picker.ts'

export class LevelHealth implements ClusterHealth {
  /** Kept by the picker over all levels. */
  relieved = false
  readonly #health: ClusterHealth

  /** `health`: of the endpoints of this level. */
  constructor(health: ClusterHealth) {
    this.#health = health
  }

  /** Whether too few endpoints are healthy, relieved or not. */
  get failing(): boolean {
    return this.#health.panicking
  }

  get panicking(): boolean {
    return !this.relieved && this.#health.panicking
  }

  get ejected(): number {
    return this.#health.ejected
  }

  due(call: Call): Endpoint | undefined {
    return this.#health.due(call)
  }
}
