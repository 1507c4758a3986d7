/**
 * Leases shares of the global rates of services to the processes that serve them, by their demand.
 * Registries on one store tell each other what their processes ask for, and each shares out its
 * part: the whole is the rate.
 */
import type { Clock, Timer } from '../../core/clock.ts'
import { MESH_DOCUMENT } from '../../discovery/policy-document.ts'
import type { Demand } from '../../resilience/limits/global-rate-limit.ts'
import type { FleetKind } from '../fleet/fleet-records.ts'
import { holderOf } from '../records.ts'
import type { RegistryState } from '../state.ts'
import { DemandRecords } from './demand-records.ts'
import { GlobalRates } from './global-rates.ts'
import { type News, OwnDemand } from './own-demand.ts'
import { Participants, type QuotaSession } from './participants.ts'
import { partOfBudget, shareOut, wholeBudget } from './share-out.ts'

/** Reports that arrive together are answered together. */
const TOGETHER_MS = 25
/** At the latest after this, shares are looked at: leases are renewed, and others end. */
const LOOK_MS = 1_000
/**
 * From a change to its publication: long enough that a move at all processes is published as one.
 * What is small waits, so that the next large change need not.
 */
const PUBLISH_AFTER_MS = { small: 3_000, large: 200 }

export interface QuotasHost {
  readonly state: RegistryState
  readonly clock: Clock
  /** This registry among those on the store. */
  readonly id: string
  readonly leaseMs: number
  /** Where others read what is asked for here. */
  readonly publication: { set(value: unknown): void }
}

/** Ready instances of a service with a weight. */
interface Listed {
  readonly all: number
  /** By the registry that holds them. */
  readonly held: ReadonlyMap<string, number>
}

export class Quotas {
  readonly #host: QuotasHost
  readonly #rates: GlobalRates
  readonly #records: DemandRecords
  readonly #own = new OwnDemand()
  readonly #services = new Map<string, Participants>()
  readonly #changed = new Set<string>()
  readonly #stopListening: readonly (() => void)[]
  #soon: Timer | undefined
  #look: Timer | undefined
  #publish: { readonly timer: Timer; readonly news: News } | undefined
  #closed = false

  constructor(host: QuotasHost) {
    this.#host = host
    const { state, clock, id, leaseMs } = host
    this.#rates = new GlobalRates(state)
    this.#records = new DemandRecords(state, clock, id, leaseMs)
    this.#stopListening = [
      state.onChange(({ service }) => (service === MESH_DOCUMENT ? this.#allChanged() : this.#serviceChanged(service))),
      state.fleet.onChange((kind, name) => this.#fleetChanged(kind, name)),
    ]
  }

  /** How many processes take part. */
  get size(): number {
    let size = 0
    for (const participants of this.#services.values()) size += participants.asking().length
    return size
  }

  tell(service: string, session: QuotaSession, demand: Demand): void {
    if (this.#closed) return
    let participants = this.#services.get(service)
    if (participants === undefined) {
      participants = new Participants(this.#host.leaseMs)
      this.#services.set(service, participants)
    }
    participants.tell(session, demand)
    this.#serviceChanged(service)
    this.#look ??= this.#nextLook()
  }

  /** The session has ended. */
  leave(service: string, session: QuotaSession): void {
    const participants = this.#services.get(service)
    if (participants === undefined) return
    participants.leave(session)
    this.#serviceChanged(service)
  }

  close(): void {
    this.#closed = true
    for (const stop of this.#stopListening) stop()
    for (const timer of [this.#soon, this.#look, this.#publish?.timer]) {
      if (timer !== undefined) this.#host.clock.stopTimer(timer)
    }
    this.#services.clear()
  }

  #nextLook(): Timer {
    const { clock, leaseMs } = this.#host
    const look = (): void => {
      this.#look = this.#services.size > 0 ? this.#nextLook() : undefined
      this.#allChanged()
    }
    return clock.startBackgroundTimer(Math.min(LOOK_MS, leaseMs / 6), look, undefined)
  }

  #allChanged(): void {
    for (const service of this.#services.keys()) this.#serviceChanged(service)
  }

  #serviceChanged(service: string): void {
    if (this.#closed || !this.#services.has(service)) return
    this.#changed.add(service)
    this.#soon ??= this.#host.clock.startBackgroundTimer(TOGETHER_MS, () => this.#shareOut(), undefined)
  }

  #fleetChanged(kind: FleetKind, name: string): void {
    if (kind !== 'registry' && kind !== 'demand') return
    if (kind === 'demand') this.#records.heard(name)
    this.#allChanged()
  }

  #shareOut(): void {
    this.#soon = undefined
    const { clock, publication, state } = this.#host
    const now = clock.now()
    const changed = [...this.#changed]
    this.#changed.clear()
    for (const service of changed) {
      const participants = this.#services.get(service)
      if (participants !== undefined) this.#shareOutService(service, participants, now)
    }
    if (state.fleet.registries.size < 2) publication.set(undefined)
    else this.#publishSoon()
  }

  #publishSoon(): void {
    const { state, clock, id } = this.#host
    const isUnknown = !this.#own.isEmpty && !state.fleet.demand.has(id)
    const news = isUnknown ? 'large' : this.#own.news
    if (news === 'none' || this.#publish?.news === 'large' || this.#publish?.news === news) return
    if (this.#publish !== undefined) clock.stopTimer(this.#publish.timer)
    const publish = (): void => {
      this.#publish = undefined
      this.#host.publication.set(this.#own.publish())
    }
    this.#publish = { timer: clock.startBackgroundTimer(PUBLISH_AFTER_MS[news], publish, undefined), news }
  }

  #shareOutService(service: string, participants: Participants, now: number): void {
    const { state, id } = this.#host
    const instances = state.service(service)?.instances
    participants.forget(now, (one) => {
      const record = instances?.get(one)
      return record !== undefined && holderOf(record) === id
    })
    const global = this.#rates.of(service)
    if (participants.isEmpty) this.#services.delete(service)
    const own = participants.asking()
    if (global === undefined || own.length === 0) {
      this.#own.delete(service)
      return
    }
    const { ratePerSecond } = global
    const listed = this.#listed(service)
    const covered = own.flatMap(({ instances: ids }) => [...ids]).filter((one) => this.#serves(service, one)).length
    this.#own.set(service, own, covered, global)
    const elsewhere = this.#records.elsewhere(service, listed.held)
    const here = this.#records.here(service, listed.held)
    // Of instances that do not ask, each takes an equal share by itself.
    const part = (count: number): number => (listed.all === 0 ? 1 : Math.min(1, count / listed.all))
    if (elsewhere.length === 0) {
      const budget = wholeBudget(ratePerSecond * part(covered), own.length)
      participants.grant(shareOut(global, budget, own, []), ratePerSecond, now)
      return
    }
    const known = here?.instances ?? 0
    const asked = elsewhere.reduce((sum, { instances: ready }) => sum + ready, known)
    const besides = ratePerSecond * part(Math.max(0, covered - known))
    const budget = partOfBudget(global, ratePerSecond * part(asked), here, elsewhere, besides)
    participants.grant(shareOut(global, budget, own, elsewhere), ratePerSecond, now)
  }

  #serves(service: string, id: string): boolean {
    const record = this.#host.state.service(service)?.instances.get(id)
    return record?.instance.state === 'ready' && record.instance.weight > 0
  }

  #listed(service: string): Listed {
    const held = new Map<string, number>()
    let all = 0
    for (const record of this.#host.state.service(service)?.instances.values() ?? []) {
      const { state, weight } = record.instance
      if (state !== 'ready' || weight === 0) continue
      all += 1
      held.set(holderOf(record), (held.get(holderOf(record)) ?? 0) + 1)
    }
    return { all, held }
  }
}
