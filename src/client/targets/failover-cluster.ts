/**
 * The endpoints of several failover levels as one cluster. Each endpoint stays with the service
 * that owns it; the cluster follows its owners when it is used.
 */
import type { HashKey } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Balancer, Cluster, Picker } from '../../core/picker.ts'
import type { Alternative } from '../../resilience/alternative.ts'
import type { BalancingSettings } from '../../resilience/balancing-settings.ts'
import type { EjectionSettings } from '../../resilience/ejection-settings.ts'
import { failureShareOf } from '../../resilience/endpoint-health.ts'
import { HealthView } from '../../resilience/health-view.ts'
import { type BalancingClient, LayeredBalancer } from '../balancing/arranged.ts'
import { FailoverPicker, type Level } from '../balancing/failover-picker.ts'
import { LevelHealth } from '../balancing/level-health.ts'
import type { EndpointOwner } from './endpoint-owner.ts'
import type { LevelMembers } from './failover-levels.ts'
import { whenAvailable } from './when-available.ts'

/** How the endpoints of one owner are chosen. */
export interface OwnerBalancing {
  readonly balancing: BalancingSettings
  /** Of a route that has its own. */
  readonly ejection: EjectionSettings | undefined
}

export interface FailoverClusterParts {
  /** The service that is called. */
  readonly service: string
  /** At least one. */
  readonly levels: readonly LevelMembers[]
  readonly balancingOf: (owner: EndpointOwner) => OwnerBalancing
  readonly client: BalancingClient
  /** The part of a request by which a call stays in a level. */
  readonly key: HashKey | undefined
  readonly clock: Clock
}

/** How often the failures of a level are counted anew. */
const COUNT_EVERY_MS = 100

const NO_ENDPOINT: Picker = Object.freeze({ pick: () => undefined })
const NONE: readonly Endpoint[] = Object.freeze([])

class LevelView implements Level {
  readonly owner: EndpointOwner
  readonly health: LevelHealth
  endpoints: readonly Endpoint[] = NONE
  draining = false
  picker: Picker = NO_ENDPOINT
  readonly #members: LevelMembers
  /** Made when an endpoint of the service fails. */
  #set: ReadonlySet<Endpoint> | undefined
  #failureShare = 0
  #failureShareAt = Number.NEGATIVE_INFINITY
  readonly #view: HealthView
  readonly #balancer: Balancer

  constructor(members: LevelMembers, { balancing, ejection }: OwnerBalancing, client: BalancingClient, clock: Clock) {
    const { owner } = members
    this.owner = owner
    this.#members = members
    this.#view = new HealthView(owner.state.ejection, clock, ejection)
    this.health = new LevelHealth(this.#view)
    const watch = this.#view.watch.bind(this.#view)
    const { balancer } = owner.balancer(balancing)
    this.#balancer = new LayeredBalancer(balancer, balancing, client, this.health, clock, watch)
  }

  has(endpoint: Endpoint): boolean {
    this.#set ??= new Set(this.endpoints)
    return this.#set.has(endpoint)
  }

  failureShare(now: number): number {
    if (now - this.#failureShareAt >= COUNT_EVERY_MS) {
      this.#failureShareAt = now
      this.#failureShare = failureShareOf(this.endpoints, now)
    }
    return this.#failureShare
  }

  /** `taken`: by the levels before it; what this level takes is added. */
  follow(taken: Set<Endpoint>): void {
    const { cluster } = this.owner
    const members = cluster.all.filter((endpoint) => !taken.has(endpoint) && this.#members.isMember(endpoint))
    for (const endpoint of members) taken.add(endpoint)
    const ready = members.filter((endpoint) => !cluster.isDraining(endpoint))
    this.draining = ready.length === 0 && members.length > 0
    this.endpoints = Object.freeze(this.draining ? members : ready)
    this.#set = undefined
    this.#failureShareAt = Number.NEGATIVE_INFINITY
    this.picker = this.endpoints.length === 0 ? NO_ENDPOINT : this.#balancer.picker(this.endpoints)
    this.#view.watch(this.picker.inUse ?? this.endpoints)
  }
}

export class FailoverCluster implements Cluster, Alternative {
  readonly service: string
  readonly #levels: readonly LevelView[]
  readonly #owners: readonly EndpointOwner[]
  readonly #key: HashKey | undefined
  readonly #clock: Clock
  /** The publication of each owner that the levels were made from. */
  readonly #seen: (readonly Endpoint[] | undefined)[]
  #endpoints: readonly Endpoint[] = NONE
  #picker: FailoverPicker

  constructor({ service, levels, balancingOf, client, key, clock }: FailoverClusterParts) {
    this.service = service
    this.#levels = levels.map((members) => new LevelView(members, balancingOf(members.owner), client, clock))
    this.#owners = [...new Set(levels.map(({ owner }) => owner))]
    this.#seen = this.#owners.map(() => undefined)
    this.#key = key
    this.#clock = clock
    this.#picker = new FailoverPicker(this.#levels, key, clock)
  }

  get endpoints(): readonly Endpoint[] {
    this.#follow()
    return this.#endpoints
  }

  get picker(): Picker {
    this.#follow()
    return this.#picker
  }

  whenAvailable(ms: number, listener: (available: boolean) => void): () => void {
    const sources = this.#owners.map(({ cluster }) => cluster)
    return whenAvailable(sources, this.#clock, () => this.endpoints.length > 0, ms, listener)
  }

  onChange(listener: () => void): () => void {
    const leave = this.#owners.map(({ cluster }) => cluster.onChange(listener))
    return () => {
      for (const each of leave) each()
    }
  }

  /** Begins to notify the ejection of each service of the levels behind its endpoints. */
  begin(): () => void {
    const leave = this.#owners.map(({ state }) => state.ejection.addAlternative(this))
    return () => {
      for (const each of leave) each()
    }
  }

  failureShareBehind(endpoint: Endpoint, now: number): number | undefined {
    const at = this.#levels.findIndex((level) => level.has(endpoint))
    if (at < 0) return undefined
    let least: number | undefined
    for (const level of this.#levels.slice(at + 1)) {
      if (level.endpoints.length > 0) least = Math.min(least ?? 1, level.failureShare(now))
    }
    return least
  }

  #follow(): void {
    let changed = false
    for (let i = 0; i < this.#owners.length; i++) {
      const owner = this.#owners[i]!
      const { endpoints } = owner.cluster
      if (endpoints === this.#seen[i]) continue
      this.#seen[i] = endpoints
      changed = true
      const taken = new Set<Endpoint>()
      for (const level of this.#levels) if (level.owner === owner) level.follow(taken)
    }
    if (!changed) return
    this.#endpoints = Object.freeze(this.#levels.flatMap(({ endpoints }) => endpoints))
    // A new one, because its shares are of the endpoints before.
    this.#picker = new FailoverPicker(this.#levels, this.#key, this.#clock)
  }
}
