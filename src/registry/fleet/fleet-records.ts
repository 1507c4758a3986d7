/** What the registries on one store say of themselves, as the state holds it. */

/** One running registry; its key vanishes with it. */
export interface RegistryRecord {
  readonly id: string
  /** Where peers and operators reach it. */
  readonly url: string
  readonly version: string
  /** The newest session protocol it speaks. */
  readonly protocol: number
  /** Wall clock, ms. */
  readonly startedAt: number
  readonly sessions: number
}

/** By service, how many instances that a registry leases have stopped renewing. */
export type SilentRecord = Readonly<Record<string, number>>

/**
 * By service, the revision that all watchers at a registry have acknowledged, and how many watch.
 */
export type SeenRecord = Readonly<Record<string, readonly [revision: number, watchers: number]>>

/** Services without instances that a registry's watchers still watch. */
export interface WatchedRecord {
  readonly services: readonly string[]
}

/** What the processes of one service at a registry ask of its global rate limit. */
export interface ServiceDemand {
  readonly processes: number
  /** The ready instances of those processes. */
  readonly instances: number
  /** Requests per second by key, as processes tell their demand. */
  readonly perSecond: Readonly<Record<string, number>>
}

/** By service. */
export type DemandRecord = Readonly<Record<string, ServiceDemand>>

/** Expiry of a service's instances has stopped at all registries. */
export interface FreezeRecord {
  /** Wall clock, ms. */
  readonly at: number
  /** The registry that froze it. */
  readonly by: string
}

/** Kinds whose records have services as keys: also one named `constructor`, which no other has. */
const BY_SERVICE: ReadonlySet<string> = new Set(['silent', 'seen', 'demand'])

/** `name`: a registry's id, or for a `freeze` the service. */
export type FleetListener = (kind: FleetKind, name: string) => void
export type FleetKind = 'registry' | 'silent' | 'seen' | 'watched' | 'demand' | 'freeze'

export class FleetRecords {
  readonly #registries = new Map<string, RegistryRecord>()
  readonly #silent = new Map<string, SilentRecord>()
  readonly #seen = new Map<string, SeenRecord>()
  readonly #watched = new Map<string, WatchedRecord>()
  readonly #demand = new Map<string, DemandRecord>()
  readonly #freezes = new Map<string, FreezeRecord>()
  readonly #listeners = new Set<FleetListener>()
  #untold: [FleetKind, string][] = []

  /** By id: those that live, as far as the store knows. */
  get registries(): ReadonlyMap<string, RegistryRecord> {
    return this.#registries
  }

  get silent(): ReadonlyMap<string, SilentRecord> {
    return this.#silent
  }

  get seen(): ReadonlyMap<string, SeenRecord> {
    return this.#seen
  }

  get watched(): ReadonlyMap<string, WatchedRecord> {
    return this.#watched
  }

  get demand(): ReadonlyMap<string, DemandRecord> {
    return this.#demand
  }

  /** By service. */
  get freezes(): ReadonlyMap<string, FreezeRecord> {
    return this.#freezes
  }

  /** Hears of each record that changes, after its whole batch. Returns how to stop. */
  onChange(listener: FleetListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Returns false for a kind that is not one of the fleet's. */
  set(kind: string, name: string, record: unknown): boolean {
    const records = this.#of(kind)
    if (records === undefined) return false
    if (record === undefined) records.delete(name)
    else records.set(name, BY_SERVICE.has(kind) ? Object.assign(Object.create(null), record) : record)
    this.#untold.push([kind as FleetKind, name])
    return true
  }

  /** The batch is complete. */
  tell(): void {
    if (this.#untold.length === 0) return
    const untold = this.#untold
    this.#untold = []
    for (const [kind, name] of untold) for (const listener of [...this.#listeners]) listener(kind, name)
  }

  clear(): void {
    this.#listeners.clear()
  }

  #of(kind: string): Map<string, unknown> | undefined {
    switch (kind) {
      case 'registry':
        return this.#registries
      case 'silent':
        return this.#silent
      case 'seen':
        return this.#seen
      case 'watched':
        return this.#watched
      case 'demand':
        return this.#demand
      case 'freeze':
        return this.#freezes
      default:
        return undefined
    }
  }
}
