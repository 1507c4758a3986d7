/**
 * Registries on one store and processes that share a global rate, on a fake clock and without
 * sockets: a message takes a few milliseconds.
 */
import type { Attempt } from '../../src/core/attempt.ts'
import { Publication } from '../../src/registry/fleet/publication.ts'
import type { QuotaSession } from '../../src/registry/quotas/participants.ts'
import { Quotas } from '../../src/registry/quotas/quotas.ts'
import { KEYS } from '../../src/registry/records.ts'
import { RegistryState } from '../../src/registry/state.ts'
import { MemoryStorage } from '../../src/registry/storage/memory.ts'
import { GlobalRateLimitPolicy, type QuotaLease } from '../../src/resilience/limits/global-rate-limit.ts'
import { GLOBAL_RATE, type GlobalRateOptions } from '../../src/resilience/limits/global-rate-settings.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { instance } from './instance.ts'
import { StorageView } from './storage-view.ts'

const SERVICE = 'stock'
const LATENCY_MS = 3
export const LEASE_MS = 15_000

export interface QuotaRegistry {
  readonly id: string
  readonly view: StorageView
  readonly state: RegistryState
  readonly quotas: Quotas
  readonly publication: Publication
  alive: boolean
}

export class QuotaMesh {
  readonly clock: FakeClock
  readonly store = new MemoryStorage()
  readonly registries: QuotaRegistry[] = []
  readonly processes: QuotaProcess[] = []
  /** Messages of leases that were sent. */
  leases = 0
  /** Messages of demand that were sent. */
  reports = 0

  constructor(seed = 1) {
    this.clock = new FakeClock({ seed })
  }

  async apply(global: GlobalRateOptions | false): Promise<void> {
    const record = { document: { service: SERVICE, limits: { global } }, version: 1, at: 0, by: 'test' }
    await this.store.transact([], [{ key: KEYS.policy(SERVICE), value: JSON.stringify(record) }])
    if (global === false) return
    for (const { policy } of this.processes) policy.configure(GLOBAL_RATE.resolve(global))
  }

  async registry(id = `r${this.registries.length + 1}`): Promise<QuotaRegistry> {
    const { clock } = this
    const view = new StorageView(this.store)
    await view.announce(KEYS.registry(id), JSON.stringify({ id, sessions: 0 }))
    const state = await RegistryState.load(view, () => {})
    const publication = new Publication({ state, clock, failed: () => {} }, KEYS.demand(id), 1_000)
    const quotas = new Quotas({ state, clock, id, leaseMs: LEASE_MS, publication })
    const registry = { id, view, state, quotas, publication, alive: true }
    this.registries.push(registry)
    return registry
  }

  /** Without a word: its sessions are lost. */
  async kill(registry: QuotaRegistry): Promise<void> {
    registry.alive = false
    registry.quotas.close()
    registry.state.close()
    await registry.view.close()
    for (const process of this.processes) if (process.registry === registry) process.registry = undefined
  }

  async process(registry: QuotaRegistry | undefined, global: GlobalRateOptions, weight = 1): Promise<QuotaProcess> {
    const process = new QuotaProcess(this, `p${this.processes.length + 1}`, global, weight)
    this.processes.push(process)
    if (registry !== undefined) await process.connect(registry)
    return process
  }

  /** The instance is listed, and held by `registry`. */
  async list(id: string, registry: QuotaRegistry, weight: number): Promise<void> {
    const record = {
      instance: instance(SERVICE, id, { port: 10_000 + this.processes.length, weight }),
      owner: 'test',
      registry: registry.id,
      registeredAt: 0,
    }
    await this.store.transact([], [{ key: KEYS.instance(SERVICE, id), value: JSON.stringify(record) }])
  }

  async unlist(id: string): Promise<void> {
    await this.store.transact([], [{ key: KEYS.instance(SERVICE, id), value: undefined }])
  }

  get listed(): number {
    return this.processes.filter((one) => one.isListed && one.weight > 0).length
  }

  /** Runs for `ms`; returns what was admitted and offered, per second. */
  async measure(ms: number, stepMs = 1): Promise<{ readonly admitted: number; readonly offered: number }> {
    const before = this.processes.reduce((sum, { offered }) => sum + offered, 0)
    const admitted = await this.run(ms, stepMs)
    const offered = this.processes.reduce((sum, { offered }) => sum + offered, 0) - before
    return { admitted, offered: (offered / ms) * 1_000 }
  }

  /** Runs for `ms`; returns what was admitted, per second. */
  async run(ms: number, stepMs = 1): Promise<number> {
    let admitted = 0
    for (let i = 0; i < ms; i += stepMs) {
      this.clock.advance(stepMs)
      for (const process of this.processes) admitted += process.callsIn(stepMs)
      if (i % 5 === 0) await this.settle()
    }
    return (admitted / ms) * 1_000
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 10; i++) await Promise.resolve()
  }

  async close(): Promise<void> {
    for (const { policy } of this.processes) policy.close()
    for (const registry of this.registries) {
      if (!registry.alive) continue
      registry.quotas.close()
      await registry.publication.close()
      registry.state.close()
    }
    await this.store.close()
  }
}

export class QuotaProcess implements QuotaSession {
  readonly process: string
  readonly instances = new Set<string>()
  readonly policy: GlobalRateLimitPolicy
  readonly weight: number
  readonly #mesh: QuotaMesh
  /** Offered per second, by caller. */
  demand: Readonly<Record<string, number>> = {}
  offered = 0
  admitted: Record<string, number> = {}
  registry: QuotaRegistry | undefined
  isListed = false
  alive = true

  constructor(mesh: QuotaMesh, name: string, global: GlobalRateOptions, weight: number) {
    this.#mesh = mesh
    this.process = name
    this.weight = weight
    this.policy = new GlobalRateLimitPolicy(GLOBAL_RATE.resolve(global), mesh.clock, {
      report: (demand) => {
        const { registry } = this
        if (registry === undefined) return
        mesh.reports += 1
        const tell = (): void => {
          if (this.registry === registry) registry.quotas.tell(SERVICE, this.#session, demand)
        }
        mesh.clock.startTimer(LATENCY_MS, tell, undefined)
      },
      instances: () => mesh.listed,
    })
  }

  /** Another one for each connection. */
  #session: QuotaSession = this

  async connect(registry: QuotaRegistry): Promise<void> {
    const { process, instances } = this
    this.#session = { process, instances, quota: (lease) => this.#receive(registry, lease) }
    this.registry = registry
    this.isListed = true
    instances.add(process)
    await this.#mesh.list(process, registry, this.weight)
    this.policy.announce()
  }

  /** The connection breaks. */
  disconnect(): void {
    this.registry?.quotas.leave(SERVICE, this.#session)
    this.registry = undefined
  }

  /** Says goodbye. */
  async leave(): Promise<void> {
    this.instances.clear()
    this.isListed = false
    await this.#mesh.unlist(this.process)
    this.disconnect()
    this.demand = {}
  }

  quota(lease: QuotaLease): void {
    this.#session.quota(lease)
  }

  callsIn(ms: number): number {
    let admitted = 0
    const { clock } = this.#mesh
    for (const [caller, perSecond] of Object.entries(this.demand)) {
      // Exponential gaps.
      const gap = (): number => -Math.log(1 - clock.random())
      for (let at = gap(); at < (perSecond * ms) / 1_000; at += gap()) {
        this.offered += 1
        const attempt = { call: { peer: caller }, startedAt: clock.now() } as unknown as Attempt
        if (this.policy.admit(attempt) !== undefined) continue
        admitted += 1
        this.admitted[caller] = (this.admitted[caller] ?? 0) + 1
      }
    }
    return admitted
  }

  #receive(registry: QuotaRegistry, lease: QuotaLease): void {
    this.#mesh.leases += 1
    const receive = (): void => {
      if (this.registry === registry) this.policy.grant(lease)
    }
    this.#mesh.clock.startTimer(LATENCY_MS, receive, undefined)
  }
}
