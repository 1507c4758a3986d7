/**
 * Many clients of one service, each with a separate view of the servers that they share. Calls
 * are counted by the second in which they began.
 */
import type { Call } from '../../src/core/call.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import type { EjectionListener } from '../../src/resilience/cluster-health.ts'
import type { ServiceOptions } from '../../src/resilience/settings.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { at, offer } from '../../src/simulator/load.ts'
import { type Handler, SimulatedServer, Workers } from '../../src/simulator/server.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { SimulatedClient } from './client.ts'

export interface CrowdParts {
  readonly seed: number
  readonly clients: number
  readonly servers: number
  readonly workers: number
  /** Mean service time. */
  readonly meanMs: number
  /** Share of the capacity of all servers. */
  readonly load: number
  readonly lengthMs: number
  /** Of each client. */
  readonly options: ServiceOptions
}

/** One server: its queue, and the address at which it listens. */
export class CrowdServer {
  readonly id: string
  readonly server: SimulatedServer
  readonly well: Handler

  constructor(id: string, { workers, meanMs }: CrowdParts, clock: FakeClock, chance: Chance) {
    this.id = id
    this.well = new Workers(clock, workers, () => chance.positiveNormal(meanMs)).handle
    this.server = new SimulatedServer({ clock, handler: this.well })
  }
}

export interface CrowdResult {
  readonly calls: number
  readonly failed: number
  /** By the second in which they began. */
  readonly callsBySecond: readonly number[]
}

export class Crowd {
  readonly clock: FakeClock
  readonly servers: readonly CrowdServer[]
  readonly clients: readonly SimulatedClient[]
  readonly chance: Chance
  /** Told of each ejection of each client. */
  onEjected: ((id: string) => void) | undefined
  readonly #parts: CrowdParts

  constructor(parts: CrowdParts) {
    this.#parts = parts
    this.clock = new FakeClock({ seed: parts.seed })
    this.chance = new Chance(parts.seed)
    const { clock } = this
    this.servers = Array.from({ length: parts.servers }, (_, i) => new CrowdServer(`e${i}`, parts, clock, this.chance))
    const onEjection: EjectionListener = ({ id }, _from, to) => {
      if (to === 'ejected') this.onEjected?.(id)
    }
    this.clients = Array.from(
      { length: parts.clients },
      () => new SimulatedClient({ clock, options: parts.options, listeners: { onEjection } }),
    )
    for (const client of this.clients) client.use(new Map(this.servers.map(({ id, server }) => [id, server])))
  }

  at(ms: number, happen: () => void): void {
    at(this.clock, ms, happen)
  }

  /** Whether something listens at the addresses of `servers`. */
  listen(servers: readonly CrowdServer[], listens: boolean): void {
    for (const client of this.clients) {
      const instances = new Map(client.instances)
      for (const { id, server } of servers) instances.set(id, listens ? server : undefined)
      client.instances = instances
    }
  }

  run(ended?: (call: Call, outcome: Outcome, client: SimulatedClient) => void): CrowdResult {
    const { seed, load, workers, meanMs, lengthMs, servers } = this.#parts
    const perSecond = (load * servers * workers * 1_000) / meanMs
    const seconds = Math.ceil(lengthMs / 1_000)
    const callsBySecond: number[] = new Array(seconds).fill(0)
    let [calls, failed] = [0, 0]
    const chance = new Chance(seed + 1)
    const send = (): void => {
      calls += 1
      callsBySecond[Math.floor(this.clock.now() / 1_000)]! += 1
      const client = chance.oneOf(this.clients)
      client.send((call, outcome) => {
        if (outcome.verdict !== 'success') failed += 1
        ended?.(call, outcome, client)
      })
    }
    offer(this.clock, chance, () => perSecond, lengthMs, send)
    this.clock.advance(lengthMs + 30_000)
    for (const client of this.clients) client.close()
    return { calls, failed, callsBySecond }
  }
}
