/**
 * Zone preference: calls stay in the client's zone while its endpoints can carry them; the rest
 * spills over. Too many ejections switch the preference off.
 */
import type { Call } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Balancer, Picker } from '../../core/picker.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import { OVERPROVISIONING } from './level-shares.ts'
import { warmth } from './slow-start.ts'
import { HEALTHY, isUsable } from './usable.ts'

/**
 * How often the healthy capacity is recounted. Until then, a pick without a healthy endpoint here
 * looks elsewhere.
 */
const COUNT_EVERY_MS = 100

/**
 * A picker with zone preference; the balancer's own if there is nothing to prefer, or if zones are
 * not known of all (as in Kubernetes).
 */
export function zonePicker(
  endpoints: readonly Endpoint[],
  zone: string,
  balancer: Balancer,
  health: ClusterHealth | undefined,
  clock: Clock,
): Picker {
  const zones = new Set(endpoints.map((endpoint) => endpoint.zone))
  if (zones.size < 2 || !zones.has(zone) || zones.has(undefined)) return balancer.picker(endpoints, health)
  return new ZonePicker(endpoints, zone, zones.size, balancer, health, clock)
}

class ZonePicker implements Picker {
  readonly #endpoints: readonly Endpoint[]
  readonly #zone: string
  readonly #zones: number
  readonly #balancer: Balancer
  readonly #health: ClusterHealth | undefined
  readonly #clock: Clock
  readonly #local: Picker
  /** Made on first use, because a table for ten thousand endpoints is expensive. */
  #remote: Picker | undefined
  #all: Picker | undefined
  #localShare = 1
  #countedAt = Number.NEGATIVE_INFINITY

  constructor(
    endpoints: readonly Endpoint[],
    zone: string,
    zones: number,
    balancer: Balancer,
    health: ClusterHealth | undefined,
    clock: Clock,
  ) {
    this.#endpoints = endpoints
    this.#zone = zone
    this.#zones = zones
    this.#balancer = balancer
    this.#health = health
    this.#clock = clock
    this.#local = balancer.picker(
      endpoints.filter((endpoint) => endpoint.zone === zone),
      health,
    )
  }

  pick(call: Call, now = this.#clock.now()): Endpoint | undefined {
    // Before the zones divide: a probe is due whatever the zone of its endpoint.
    const due = this.#health?.due(call)
    if (due !== undefined) return due
    if (this.#health?.panicking === true) return this.#pickAnywhere(call, now)
    if (now - this.#countedAt >= COUNT_EVERY_MS) this.#count(now)
    const share = this.#localShare
    const local = share >= 1 || this.#clock.random() < share
    const endpoint = local ? this.#local.pick(call, now) : this.#pickRemote(call, now)
    // A picker returns an ejected or tried endpoint only if it has no other. Other zones may have
    // one.
    return endpoint !== undefined && isUsable(endpoint, call.tried, HEALTHY) ? endpoint : this.#pickAnywhere(call, now)
  }

  #pickRemote(call: Call, now: number): Endpoint | undefined {
    this.#remote ??= this.#balancer.picker(
      this.#endpoints.filter((endpoint) => endpoint.zone !== this.#zone),
      this.#health,
    )
    return this.#remote.pick(call, now)
  }

  #pickAnywhere(call: Call, now: number): Endpoint | undefined {
    this.#all ??= this.#balancer.picker(this.#endpoints, this.#health)
    return this.#all.pick(call, now)
  }

  #count(now: number): void {
    this.#countedAt = now
    let local = 0
    let total = 0
    for (const endpoint of this.#endpoints) {
      if (endpoint.state !== 'healthy') continue
      const capacity = endpoint.weight * warmth(endpoint, now)
      total += capacity
      if (endpoint.zone === this.#zone) local += capacity
    }
    // If callers are spread evenly over the zones, no local endpoint gets more than 1.4 times the
    // mean load.
    this.#localShare = total === 0 ? 1 : (OVERPROVISIONING * this.#zones * local) / total
  }
}
