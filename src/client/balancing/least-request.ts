/**
 * Picks the endpoint with fewer attempts in flight out of two (gRFC A48). It ignores latency, which
 * suits requests of very different cost.
 */
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Balancer, Picker } from '../../core/picker.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import type { Candidate } from './candidate.ts'
import { type LoadMeasure, P2cPicker } from './p2c.ts'

export class LeastRequest implements Balancer, LoadMeasure {
  readonly name = 'least-request'
  readonly #clock: Clock
  readonly #health: ClusterHealth | undefined

  constructor(clock: Clock, health: ClusterHealth | undefined) {
    this.#clock = clock
    this.#health = health
  }

  picker(endpoints: readonly Endpoint[], health = this.#health): Picker {
    return new P2cPicker(endpoints, this, health, this.#clock)
  }

  load({ pending }: Endpoint, candidate: Candidate): void {
    candidate.load = pending / candidate.share + 1
  }

  forces(): boolean {
    return false
  }
}
