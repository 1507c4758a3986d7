/**
 * Servers of one service on one clock, and the load on them: what all fleets of the scenarios have
 * in common. Clients are the business of each scenario.
 */
import type { Instances } from '../../src/simulator/call.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { type FaultKind, FaultyInstance } from '../../src/simulator/faults.ts'
import { at, offer } from '../../src/simulator/load.ts'
import { antagonize, Machine } from '../../src/simulator/machine.ts'
import { type Handler, type ServerParts, SimulatedServer } from '../../src/simulator/server.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

export interface ServersParts {
  readonly servers: number
  readonly workers: number
  readonly meanMs: number
  /** How long a request takes at speed 1; its mean is `meanMs`. */
  readonly workMs: (chance: Chance) => number
  /** @defaultValue 0 */
  readonly roundTripMs?: number
  /** The usual speed of a machine. @defaultValue 1 */
  readonly speed?: (server: number) => number
  /** Whether neighbours take half of each machine now and then. @defaultValue `false` */
  readonly antagonists?: boolean
  /** The share of servers that report their load, or what each of them reports. @defaultValue 0 */
  readonly reports?: number | ((server: number, chance: Chance) => NonNullable<ServerParts['reports']>)
  /** How long an answer is under way beyond the round trip. @defaultValue 0 */
  readonly delayMs?: (server: number, chance: Chance) => number
}

/** What goes wrong with a server, and when. */
export interface Fault {
  readonly server: number
  readonly from: number
  readonly until: number
  readonly kind: FaultKind
}

export interface FleetServer {
  readonly id: string
  readonly server: SimulatedServer
  readonly machine: Machine
  /** How it answers while nothing is wrong. */
  readonly well: Handler
}

export class Servers {
  readonly clock: FakeClock
  readonly chance: Chance
  readonly all: readonly FleetServer[]
  /** Requests per second that they can serve at their usual speed. */
  readonly capacity: number
  readonly #listening: Map<string, SimulatedServer | undefined>
  /** End the turns of the neighbours. */
  readonly #neighbours: (() => void)[] = []

  constructor(seed: number, parts: ServersParts) {
    const { workers, meanMs, roundTripMs = 0, speed = () => 1, reports = 0, delayMs } = parts
    const clock = new FakeClock({ seed })
    const chance = new Chance(seed)
    const neighbours = new Chance(seed + 7)
    let speeds = 0
    this.all = Array.from({ length: parts.servers }, (_, i): FleetServer => {
      const machine = new Machine(clock, workers, () => parts.workMs(chance))
      speeds += speed(i)
      if (parts.antagonists === true) {
        this.#neighbours.push(antagonize(clock, neighbours, machine, speed(i), neighbours.between(0.1, 0.7)))
      } else machine.speed = speed(i)
      const well = machine.handle
      const server = new SimulatedServer({
        ...{ clock, handler: well, roundTripMs },
        reports: typeof reports === 'number' ? i % 10 < 10 * reports : reports(i, chance),
        ...(delayMs !== undefined && { delayMs: () => delayMs(i, chance) }),
      })
      return { id: `e${i}`, server, machine, well }
    })
    this.clock = clock
    this.chance = chance
    this.capacity = (1_000 * workers * speeds) / meanMs
    this.#listening = new Map(this.all.map(({ id, server }) => [id, server]))
  }

  /** What listens at their addresses, now and later. */
  get instances(): Instances {
    return this.#listening
  }

  at(ms: number, happen: () => void): void {
    at(this.clock, ms, happen)
  }

  /** Whether something listens at the addresses of `servers`. */
  listen(servers: readonly FleetServer[], listens: boolean): void {
    for (const { id, server } of servers) this.#listening.set(id, listens ? server : undefined)
  }

  /** Lets things go wrong. Returns how many requests have met a server with a fault. */
  suffer(faults: readonly Fault[]): () => number {
    let met = 0
    for (const { server: index, from, until, kind } of faults) {
      const one = this.all[index]!
      const instance = new FaultyInstance(this.clock, this.chance, one.machine, one.server, (listens) =>
        this.listen([one], listens),
      )
      this.at(from, () => {
        met -= one.server.arrived
        instance.begin(kind)
      })
      this.at(until, () => {
        met += one.server.arrived
        instance.end(kind)
      })
    }
    return () => met
  }

  /** No timer is left, so that nothing is kept of a run in a turn of the loop with many. */
  close(): void {
    for (const end of this.#neighbours) end()
  }

  /** Poisson arrivals of `load(now)` times the capacity; each comes from any of `clients`. */
  offer<Client>(
    clients: readonly Client[],
    chance: Chance,
    load: (now: number) => number,
    until: number,
    send: (client: Client) => void,
  ): void {
    offer(
      this.clock,
      chance,
      (now) => this.capacity * load(now),
      until,
      () => send(chance.oneOf(clients)),
    )
  }
}
