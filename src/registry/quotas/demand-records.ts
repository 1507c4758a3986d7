/**
 * The demand at all registries, as their records tell it. A registry that has gone is counted by
 * its last record for one lease, because its processes still use their shares; those that have come
 * to another registry are counted there.
 */
import type { Clock } from '../../core/clock.ts'
import type { DemandRecord, ServiceDemand } from '../fleet/fleet-records.ts'
import type { RegistryState } from '../state.ts'
import type { Asking } from './share-out.ts'

interface Gone {
  readonly record: DemandRecord
  /** On the monotonic clock. */
  readonly until: number
}

/** A registry's processes of one service. */
export interface PublishedDemand extends Asking {
  /** Their ready instances. */
  readonly instances: number
}

export class DemandRecords {
  readonly #state: RegistryState
  readonly #clock: Clock
  readonly #id: string
  readonly #leaseMs: number
  /** By registry, as it said last. */
  readonly #known = new Map<string, DemandRecord>()
  readonly #gone = new Map<string, Gone>()

  constructor(state: RegistryState, clock: Clock, id: string, leaseMs: number) {
    this.#state = state
    this.#clock = clock
    this.#id = id
    this.#leaseMs = leaseMs
    for (const registry of state.fleet.demand.keys()) this.heard(registry)
  }

  /** The record of `registry` has changed, or vanished. */
  heard(registry: string): void {
    if (registry === this.#id) return
    const record = this.#state.fleet.demand.get(registry)
    const before = this.#known.get(registry)
    if (record !== undefined) {
      this.#known.set(registry, record)
      this.#gone.delete(registry)
    } else if (before !== undefined) {
      this.#known.delete(registry)
      this.#gone.set(registry, { record: before, until: this.#clock.now() + this.#leaseMs })
    }
  }

  /** What others know of our processes. `held`: as below. */
  here(service: string, held: ReadonlyMap<string, number>): PublishedDemand | undefined {
    return readDemand(this.#state.fleet.demand.get(this.#id)?.[service], held.get(this.#id), 1)
  }

  /** `held`: the ready instances of `service`, by the registry that holds them now. */
  elsewhere(service: string, held: ReadonlyMap<string, number>): PublishedDemand[] {
    const now = this.#clock.now()
    for (const [registry, { until }] of this.#gone) if (now >= until) this.#gone.delete(registry)
    const living = [...this.#known].map(([id, record]) => readDemand(record[service], held.get(id), 1))
    const gone = [...this.#gone].map(([id, { record }]) => readDemand(record[service], held.get(id), 0))
    return [...living, ...gone].filter((demand) => demand !== undefined)
  }
}

/**
 * The part of a record whose instances its registry still holds. `otherwise`: the part that counts
 * of processes without a ready instance. `undefined`: none, or that of a newer registry that has
 * another form.
 */
function readDemand(value: unknown, held: number | undefined, otherwise: number): PublishedDemand | undefined {
  const { processes, instances, perSecond } = (value ?? {}) as Partial<ServiceDemand>
  const isCount = (count: unknown): count is number => Number.isSafeInteger(count) && (count as number) >= 0
  if (!isCount(processes) || !isCount(instances) || typeof perSecond !== 'object' || perSecond === null) {
    return undefined
  }
  const still = Math.min(held ?? 0, instances)
  const part = instances === 0 ? otherwise : still / instances
  if (part === 0 || processes === 0) return undefined
  const rates = Object.entries(perSecond).filter(([, rate]) => typeof rate === 'number' && rate >= 0)
  return {
    processes: processes * part,
    instances: still,
    perSecond: new Map(rates.map(([key, rate]) => [key, rate * part])),
  }
}
