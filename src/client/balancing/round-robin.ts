/**
 * Round robin: `weighted-round-robin` from the first endpoint on. It serves comparisons and tests.
 */
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Balancer, Picker } from '../../core/picker.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import { StridePicker } from './weighted-round-robin.ts'

export class RoundRobin implements Balancer {
  readonly name = 'round-robin'
  readonly #health: ClusterHealth | undefined
  readonly #clock: Clock | undefined

  constructor(health: ClusterHealth | undefined, clock?: Clock) {
    this.#health = health
    this.#clock = clock
  }

  picker(endpoints: readonly Endpoint[], health = this.#health): Picker {
    return new StridePicker(endpoints, health, this.#clock, 0)
  }
}
