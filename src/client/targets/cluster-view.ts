/**
 * A named subset of a service's endpoints as a cluster with a separate picker. Endpoints,
 * connections and estimates stay those of the service; the view follows when it is used.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Balancer, Cluster, Picker } from '../../core/picker.ts'
import type { ServiceCluster } from '../../discovery/cluster.ts'
import { whenAvailable } from './when-available.ts'

/** All given conditions hold for the endpoints of a subset. */
export interface SubsetConditions {
  readonly version: string | undefined
  readonly metadata: readonly (readonly [name: string, value: string])[]
}

export function isMember(endpoint: Endpoint, { version, metadata }: SubsetConditions): boolean {
  if (version !== undefined && endpoint.version !== version) return false
  for (const [name, value] of metadata) {
    if (!Object.hasOwn(endpoint.metadata, name) || endpoint.metadata[name] !== value) return false
  }
  return true
}

/** `undefined`: all endpoints; `none`: no subset of that name is defined. */
export type Membership = SubsetConditions | 'none' | undefined

export interface ClusterViewParts {
  /** The service that owns the endpoints. */
  readonly source: ServiceCluster
  readonly balancer: Balancer
  readonly clock: Clock
  /** Gets the endpoints in use, after each change and each pick that changed them. */
  readonly watch: (inUse: readonly Endpoint[]) => void
}

const NO_ENDPOINT: Picker = Object.freeze({ pick: () => undefined })

export class ClusterView implements Cluster {
  readonly #parts: ClusterViewParts
  #members: Membership
  readonly #listeners = new Set<() => void>()
  /** The publication that the rest was made from. */
  #seen: readonly Endpoint[] | undefined
  #endpoints: readonly Endpoint[] = []
  #picker: Picker = NO_ENDPOINT

  constructor(parts: ClusterViewParts, members: Membership) {
    this.#parts = parts
    this.#members = members
  }

  /** The same subset, as a document now defines it. */
  configure(members: Membership): void {
    if (isDeepStrictEqual(members, this.#members)) return
    this.#members = members
    this.#seen = undefined
    for (const listener of [...this.#listeners]) listener()
  }

  get service(): string {
    return this.#parts.source.service
  }

  get endpoints(): readonly Endpoint[] {
    if (this.#parts.source.endpoints !== this.#seen) this.#follow()
    return this.#endpoints
  }

  get picker(): Picker {
    if (this.#parts.source.endpoints !== this.#seen) this.#follow()
    return this.#picker
  }

  get closed(): boolean {
    return this.#parts.source.closed
  }

  whenAvailable(ms: number, listener: (available: boolean) => void): () => void {
    return whenAvailable([this], this.#parts.clock, () => this.endpoints.length > 0, ms, listener)
  }

  onChange(listener: () => void): () => void {
    const leave = this.#parts.source.onChange(listener)
    this.#listeners.add(listener)
    return () => {
      leave()
      this.#listeners.delete(listener)
    }
  }

  #follow(): void {
    const { source, balancer, watch } = this.#parts
    this.#seen = source.endpoints
    const all = membersOf(source.all, this.#members)
    const ready = all.filter((endpoint) => !source.isDraining(endpoint))
    this.#endpoints = Object.freeze(ready.length > 0 ? ready : all)
    this.#picker = this.#endpoints.length === 0 ? NO_ENDPOINT : balancer.picker(this.#endpoints)
    watch(this.#picker.inUse ?? this.#endpoints)
  }
}

function membersOf(all: readonly Endpoint[], subset: Membership): Endpoint[] {
  if (subset === 'none') return []
  return subset === undefined ? [...all] : all.filter((endpoint) => isMember(endpoint, subset))
}
