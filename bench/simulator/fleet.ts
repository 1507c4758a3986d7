/**
 * A fleet of clients and servers. Each client knows only what its own calls tell it. Calls come as
 * a Poisson process; nothing is retried.
 */
import type { BalancerName } from '../../src/resilience/balancing-settings.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { type FaultKind, FaultyInstance } from '../../src/simulator/faults.ts'
import { at, offer } from '../../src/simulator/load.ts'
import { antagonize, Machine } from '../../src/simulator/machine.ts'
import { SimulatedServer } from '../../src/simulator/server.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { SimulatedClient } from './client.ts'
import { Summary } from './summary.ts'

/** Part of a run at one load. 1 is what the machines are allocated. */
export interface Stage {
  readonly load: number
  readonly ms: number
}

export interface Fleet {
  readonly clients: number
  readonly servers: number
  readonly workers: number
  readonly meanMs: number
  /** How long a request takes at speed 1; its mean is `meanMs`. */
  readonly workMs: (chance: Chance) => number
  readonly stages: readonly Stage[]
  /** The part of a stage that is not counted. @defaultValue 1,000 */
  readonly settlingMs?: number
  readonly timeoutMs: number
  /** @defaultValue 1 */
  readonly roundTripMs?: number
  /** The usual speed of a machine. @defaultValue 1 */
  readonly speed?: (server: number) => number
  /** @defaultValue `true` */
  readonly antagonists?: boolean
  /** The traffic of a client, relative to that of others. @defaultValue all alike */
  readonly traffic?: (client: number) => number
  /** What goes wrong, and when. */
  readonly faults?: readonly Fault[]
}

export interface Fault {
  readonly server: number
  readonly from: number
  readonly until: number
  readonly kind: FaultKind
}

export interface FleetPolicy {
  readonly balancer: BalancerName
  /** The share of servers that report their load. @defaultValue 0 */
  readonly reports?: number
}

export interface FleetRow {
  readonly failed: number
  readonly failedPercent: number
  readonly p50Ms: number
  readonly p90Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  /** Requests that arrived at servers while a fault had them, if the fault left them listening. */
  readonly toFaulty: number
}

/** Until all calls have ended. */
const TAIL_MS = 10_000

/** A row for each stage. Nothing but the balancer and ejection helps: no retries, no circuit. */
export function runFleet(seed: number, fleet: Fleet, { balancer, reports = 0 }: FleetPolicy): FleetRow[] {
  const clock = new FakeClock({ seed })
  const chance = new Chance(seed)
  const { machines, servers, capacity } = machinery(clock, seed, chance, fleet, reports)
  const listening = new Map<string, SimulatedServer | undefined>(servers.map((server, i) => [`e${i}`, server]))
  let toFaulty = 0
  for (const fault of fleet.faults ?? []) {
    const server = servers[fault.server]!
    const instance = new FaultyInstance(clock, chance, machines[fault.server]!, server, (listens) =>
      listening.set(`e${fault.server}`, listens ? server : undefined),
    )
    at(clock, fault.from, () => {
      toFaulty -= server.arrived
      instance.begin(fault.kind)
    })
    at(clock, fault.until, () => {
      toFaulty += server.arrived
      instance.end(fault.kind)
    })
  }
  const traffic = Array.from({ length: fleet.clients }, (_, i) => fleet.traffic?.(i) ?? 1)
  const whole = traffic.reduce((a, b) => a + b, 0)
  const options = { timeout: fleet.timeoutMs, retry: { attempts: 1 }, circuitBreaker: false, throttle: false, balancer }
  const clients = traffic.map(() => {
    const client = new SimulatedClient({ clock, options })
    client.use(listening)
    return client
  })
  const settlingMs = fleet.settlingMs ?? 1_000
  let from = 0
  const summaries = fleet.stages.map(({ load, ms }, stage) => {
    const summary = new Summary()
    const countedFrom = from + settlingMs
    const until = from + ms
    at(clock, from, () => {
      for (const [k, client] of clients.entries()) {
        const perSecond = (1_000 * capacity * load * traffic[k]!) / whole
        const send = (): void => {
          const counts = clock.now() >= countedFrom
          client.send((call, { verdict }) => {
            if (counts) summary.add(verdict === 'success', clock.now() - call.startedAt, call.attempts)
          })
        }
        offer(clock, new Chance(seed + 1_000 * (stage + 1) + k), () => perSecond, until, send)
      }
    })
    from = until
    return summary
  })
  clock.advance(from + TAIL_MS)
  for (const client of clients) client.close()
  return summaries.map((summary) => ({
    failed: summary.failed,
    failedPercent: 100 - summary.success,
    p50Ms: summary.percentile(0.5),
    p90Ms: summary.percentile(0.9),
    p99Ms: summary.percentile(0.99),
    p999Ms: summary.percentile(0.999),
    toFaulty,
  }))
}

interface Machinery {
  readonly machines: readonly Machine[]
  readonly servers: readonly SimulatedServer[]
  /** Requests per ms at a load of 1. */
  readonly capacity: number
}

function machinery(clock: FakeClock, seed: number, chance: Chance, fleet: Fleet, reports: number): Machinery {
  const { workers, meanMs, roundTripMs = 1, speed = () => 1 } = fleet
  const neighbours = new Chance(seed + 7)
  let speeds = 0
  const machines = Array.from({ length: fleet.servers }, (_, i) => {
    const machine = new Machine(clock, workers, () => fleet.workMs(chance))
    speeds += speed(i)
    if (fleet.antagonists === false) machine.speed = speed(i)
    else antagonize(clock, neighbours, machine, speed(i), neighbours.between(0.1, 0.7))
    return machine
  })
  const servers = machines.map(
    ({ handle }, i) => new SimulatedServer({ clock, handler: handle, roundTripMs, reports: i % 10 < 10 * reports }),
  )
  return { machines, servers, capacity: (workers * speeds) / meanMs }
}
