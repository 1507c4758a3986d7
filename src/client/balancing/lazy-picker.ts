/**
 * Builds its picker on the first pick. A service without calls, or several changes between two
 * calls, cost no tables.
 */
import type { Call } from '../../core/call.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Balancer, ClusterHealth, Picker } from '../../core/picker.ts'

export class LazyPicker implements Picker {
  readonly #balancer: Pick<Balancer, 'picker'>
  readonly #endpoints: readonly Endpoint[]
  readonly #health: ClusterHealth | undefined
  #picker: Picker | undefined

  constructor(balancer: Pick<Balancer, 'picker'>, endpoints: readonly Endpoint[], health: ClusterHealth | undefined) {
    this.#balancer = balancer
    this.#endpoints = endpoints
    this.#health = health
  }

  pick(call: Call, now?: number): Endpoint | undefined {
    this.#picker ??= this.#balancer.picker(this.#endpoints, this.#health)
    return this.#picker.pick(call, now)
  }
}
