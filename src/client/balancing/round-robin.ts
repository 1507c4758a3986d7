/** One after the other, each as often as its weight says, spread over the turns: for comparison and for tests. */
import type { Call } from '../../core/call.ts'
import type { Balancer, Endpoint, Picker } from '../../core/endpoint.ts'
import type { ClusterHealth } from '../../resilience/ejection.ts'

export class RoundRobin implements Balancer {
  readonly name = 'round-robin'
  readonly #health: ClusterHealth | undefined

  constructor(health: ClusterHealth | undefined) {
    this.#health = health
  }

  picker(endpoints: readonly Endpoint[]): Picker {
    return new RoundRobinPicker(endpoints, this.#health)
  }
}

class RoundRobinPicker implements Picker {
  readonly #endpoints: readonly Endpoint[]
  readonly #health: ClusterHealth | undefined
  readonly #largest: number
  #next = 0
  #turn = 0

  constructor(endpoints: readonly Endpoint[], health: ClusterHealth | undefined) {
    const weighty = endpoints.filter((endpoint) => endpoint.weight > 0)
    this.#endpoints = weighty.length > 0 ? weighty : endpoints
    this.#health = health
    this.#largest = this.#endpoints.reduce((most, endpoint) => Math.max(most, endpoint.weight), 0)
    health?.watch(endpoints)
  }

  pick(call: Call): Endpoint | undefined {
    const due = this.#health?.due(call)
    if (due !== undefined) return due
    const panicking = this.#health === undefined || this.#health.panicking
    return (
      this.#walk(call, panicking, true) ??
      this.#walk(call, panicking, false) ??
      this.#walk(call, true, true) ??
      this.#walk(call, true, false)
    )
  }

  #walk(call: Call, panicking: boolean, untried: boolean): Endpoint | undefined {
    const size = this.#endpoints.length
    // A light endpoint is passed over in all but its share of the turns; two rounds find one that is due for certain.
    for (let i = 0; i < 2 * size; i++) {
      const endpoint = this.#endpoints[this.#next]!
      const turn = this.#turn
      this.#next += 1
      if (this.#next === size) {
        this.#next = 0
        this.#turn += 1
      }
      if (!panicking && endpoint.state !== 'healthy') continue
      if (untried && call.tried?.includes(endpoint)) continue
      const share = this.#largest === 0 ? 1 : endpoint.weight / this.#largest
      if (i >= size || Math.floor((turn + 1) * share) > Math.floor(turn * share)) return endpoint
    }
    return undefined
  }
}
