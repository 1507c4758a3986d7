/**
 * A fleet of clients and servers. Each client knows only what its own calls tell it. Calls come as
 * a Poisson process; nothing is retried.
 */
import type { BalancerName, BalancerOptions } from '../../src/resilience/balancing-settings.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { offer } from '../../src/simulator/load.ts'
import { SimulatedClient } from './client.ts'
import { type Fault, Servers, type ServersParts } from './servers.ts'
import { Summary } from './summary.ts'

/** Part of a run at one load. 1 is what the machines are allocated. */
export interface Stage {
  readonly load: number
  readonly ms: number
}

/** Clients beside the servers. By default machines have neighbours, and 1 ms of round trip. */
export interface Fleet extends Omit<ServersParts, 'reports'> {
  readonly clients: number
  readonly stages: readonly Stage[]
  /** The part of a stage that is not counted. @defaultValue 1,000 */
  readonly settlingMs?: number
  readonly timeoutMs: number
  /** The traffic of a client, relative to that of others. @defaultValue all alike */
  readonly traffic?: (client: number) => number
  readonly faults?: readonly Fault[]
}

export interface FleetPolicy {
  readonly balancer: BalancerName | BalancerOptions
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
  const { antagonists = true, roundTripMs = 1 } = fleet
  const servers = new Servers(seed, { ...fleet, antagonists, roundTripMs, reports })
  const { clock, capacity } = servers
  const toFaulty = servers.suffer(fleet.faults ?? [])
  const traffic = Array.from({ length: fleet.clients }, (_, i) => fleet.traffic?.(i) ?? 1)
  const whole = traffic.reduce((a, b) => a + b, 0)
  const options = { timeout: fleet.timeoutMs, retry: { attempts: 1 }, circuitBreaker: false, throttle: false, balancer }
  const clients = traffic.map(() => {
    const client = new SimulatedClient({ clock, options })
    client.use(servers.instances)
    return client
  })
  const settlingMs = fleet.settlingMs ?? 1_000
  let from = 0
  const summaries = fleet.stages.map(({ load, ms }, stage) => {
    const summary = new Summary()
    const countedFrom = from + settlingMs
    const until = from + ms
    servers.at(from, () => {
      for (const [k, client] of clients.entries()) {
        const perSecond = (capacity * load * traffic[k]!) / whole
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
  servers.close()
  return summaries.map((summary) => ({
    failed: summary.failed,
    failedPercent: 100 - summary.success,
    p50Ms: summary.percentile(0.5),
    p90Ms: summary.percentile(0.9),
    p99Ms: summary.percentile(0.99),
    p999Ms: summary.percentile(0.999),
    toFaulty: toFaulty(),
  }))
}
