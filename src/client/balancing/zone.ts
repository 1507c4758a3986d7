/**
 * Zone preference: calls stay in the client's zone while its endpoints can carry them; the rest
 * spills over. Too many ejections switch the preference off.
 */
import type { Call } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Balancer, Picker } from '../../core/picker.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import { HEALTHY, isUsable } from './usable.ts'
import type { ZoneShare } from './zone-share.ts'

/**
 * A picker with zone preference; the balancer's own if there is nothing to prefer, or if zones are
 * not known of all (as in Kubernetes).
 */
export function zonePicker(
  endpoints: readonly Endpoint[],
  share: ZoneShare,
  balancer: Balancer,
  health: ClusterHealth | undefined,
  clock: Clock,
): Picker {
  const { zone } = share
  const zones = new Set(endpoints.map((endpoint) => endpoint.zone))
  if (zones.size < 2 || !zones.has(zone) || zones.has(undefined)) return balancer.picker(endpoints, health)
  return new ZonePicker(endpoints, zone, zones.size, share, balancer, health, clock)
}

class ZonePicker implements Picker {
  readonly #endpoints: readonly Endpoint[]
  readonly #zones: number
  readonly #share: ZoneShare
  readonly #balancer: Balancer
  readonly #health: ClusterHealth | undefined
  readonly #clock: Clock
  readonly #local: Picker
  /** Made on first use, because a table for ten thousand endpoints is expensive. */
  #all: Picker | undefined

  constructor(
    endpoints: readonly Endpoint[],
    zone: string,
    zones: number,
    share: ZoneShare,
    balancer: Balancer,
    health: ClusterHealth | undefined,
    clock: Clock,
  ) {
    this.#endpoints = endpoints
    this.#zones = zones
    this.#share = share
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
    const measured = this.#balancer.measuresLatency === true
    const share = this.#share.local(this.#endpoints, this.#zones, measured, now)
    const isLocal = share >= 1 || this.#clock.random() < share
    const endpoint = isLocal ? this.#local.pick(call, now) : this.#pickAnywhere(call, now)
    // A picker returns an ejected or tried endpoint only if it has no other. Other zones may have
    // one.
    return endpoint !== undefined && isUsable(endpoint, call.tried, HEALTHY) ? endpoint : this.#pickAnywhere(call, now)
  }

  #pickAnywhere(call: Call, now: number): Endpoint | undefined {
    this.#all ??= this.#balancer.picker(this.#endpoints, this.#health)
    return this.#all.pick(call, now)
  }
}
