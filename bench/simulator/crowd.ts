/** Clients alike, each with a separate view of the servers that they share, under a steady load. */
import type { Call } from '../../src/core/call.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import type { EjectionListener } from '../../src/resilience/cluster-health.ts'
import type { ServiceOptions } from '../../src/resilience/settings.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { SimulatedClient } from './client.ts'
import { Servers } from './servers.ts'

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

export interface CrowdResult {
  readonly calls: number
  readonly failed: number
  /** By the second in which they began. */
  readonly callsBySecond: readonly number[]
}

export class Crowd extends Servers {
  readonly clients: readonly SimulatedClient[]
  /** Notified of each ejection of each client. */
  onEjected: ((id: string) => void) | undefined
  readonly #parts: CrowdParts

  constructor(parts: CrowdParts) {
    const { seed, servers, workers, meanMs, options } = parts
    super(seed, { servers, workers, meanMs, workMs: (chance) => chance.positiveNormal(meanMs) })
    this.#parts = parts
    const { clock } = this
    const onEjection: EjectionListener = ({ id }, _from, to) => {
      if (to === 'ejected') this.onEjected?.(id)
    }
    this.clients = Array.from(
      { length: parts.clients },
      () => new SimulatedClient({ clock, options, listeners: { onEjection } }),
    )
    for (const client of this.clients) client.use(this.instances)
  }

  run(ended?: (call: Call, outcome: Outcome, client: SimulatedClient) => void): CrowdResult {
    const { seed, load, lengthMs } = this.#parts
    const callsBySecond: number[] = new Array(Math.ceil(lengthMs / 1_000)).fill(0)
    let [calls, failed] = [0, 0]
    const send = (client: SimulatedClient): void => {
      calls += 1
      callsBySecond[Math.floor(this.clock.now() / 1_000)]! += 1
      client.send((call, outcome) => {
        if (outcome.verdict !== 'success') failed += 1
        ended?.(call, outcome, client)
      })
    }
    this.offer(this.clients, new Chance(seed + 1), () => load, lengthMs, send)
    this.clock.advance(lengthMs + 30_000)
    for (const client of this.clients) client.close()
    return { calls, failed, callsBySecond }
  }
}
