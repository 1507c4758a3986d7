/**
 * (q) Fleets that are not of one kind: some of the clients balance as before, some of the servers
 * are old, late with their answers, or lie about their load. Nothing is retried.
 */
import type { Call } from '../../src/core/call.ts'
import { type Outcome, SUCCESS } from '../../src/core/outcome.ts'
import type { PolicyDocument } from '../../src/discovery/policy-document.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { offer } from '../../src/simulator/load.ts'
import { RoutedClient } from '../../src/simulator/routed-client.ts'
import type { Fleet } from './fleet.ts'
import { Servers, type ServersParts } from './servers.ts'
import { Summary } from './summary.ts'

/** Clients of one kind. */
export interface ClientKind {
  readonly name: string
  /** In addition to the timeout, no retries and no circuit. */
  readonly policy: Omit<PolicyDocument, 'service'>
  /** Of all clients. */
  readonly share: number
}

export interface MixedFleet {
  readonly fleet: Fleet
  readonly clients: readonly ClientKind[]
  readonly reports: NonNullable<ServersParts['reports']>
  readonly delayMs?: ServersParts['delayMs']
  readonly weight?: (server: number) => number
  /** The share of the calls that are streams of 1 to 5 s, which take no worker. @defaultValue 0 */
  readonly streams?: number
}

/** Of the clients of one kind; streams are left out. */
export interface MixedRow {
  readonly clients: string
  readonly calls: number
  readonly failed: number
  readonly p50Ms: number
  readonly p99Ms: number
}

export interface MixedResult {
  readonly rows: readonly MixedRow[]
  /** The requests that each server got, over its fair share by weight. */
  readonly shares: readonly number[]
  /** What is left when all is over: calls that have not ended, timers. */
  readonly left: number
}

/** Until all calls have ended. */
const TAIL_MS = 10_000

export function mixedFleet(seed: number, mixed: MixedFleet): MixedResult {
  const { fleet, reports, delayMs, weight = () => 1, streams = 0 } = mixed
  const { antagonists = true, roundTripMs = 1, settlingMs = 1_000 } = fleet
  const servers = new Servers(seed, { ...fleet, antagonists, roundTripMs, reports, ...(delayMs && { delayMs }) })
  const { clock, capacity, chance } = servers
  for (const { server, well } of servers.all) {
    server.handler = (call, reply) => {
      if (!call.kind.streaming) well(call, reply)
      else clock.startTimer(chance.between(1_000, 5_000), reply, SUCCESS)
    }
  }
  servers.suffer(fleet.faults ?? [])
  const kinds = mixed.clients.flatMap((kind) =>
    new Array<ClientKind>(Math.round(kind.share * fleet.clients)).fill(kind),
  )
  const summaries = new Map(mixed.clients.map((kind) => [kind, new Summary()]))
  const placed = servers.all.map(({ id, server }, i) => ({ id, server, weight: weight(i) }))
  const clients = kinds.map((kind, i) => {
    const client = new RoutedClient(clock, undefined, { id: `client-${i}` })
    client.configure({
      ...{ service: 'inventory', timeout: fleet.timeoutMs, retry: { attempts: 1 }, circuitBreaker: false },
      ...{ throttle: false, ...kind.policy },
    })
    client.use('inventory', placed)
    return client
  })
  const { load, ms } = fleet.stages[0]!
  let open = 0
  for (const [k, client] of clients.entries()) {
    const summary = summaries.get(kinds[k]!)!
    const arrivals = new Chance(seed + 1_000 + k)
    const send = (): void => {
      const streaming = streams > 0 && arrivals.happens(streams)
      const counts = clock.now() >= settlingMs && !streaming
      open += 1
      const ended = (call: Call, { verdict }: Outcome): void => {
        open -= 1
        if (counts) summary.add(verdict === 'success', clock.now() - call.startedAt, call.attempts)
      }
      client.send('inventory', ended, streaming)
    }
    offer(clock, arrivals, () => (capacity * load) / clients.length, ms, send)
  }
  clock.advance(ms + TAIL_MS)
  for (const client of clients) client.close()
  servers.close()
  const weights = servers.all.map((_, i) => weight(i))
  const heavy = weights.reduce((a, b) => a + b, 0)
  const all = servers.all.reduce((sum, { server }) => sum + server.arrived, 0)
  return {
    rows: [...summaries].map(([{ name }, summary]) => ({
      clients: name,
      calls: summary.total,
      failed: summary.failed,
      p50Ms: summary.percentile(0.5),
      p99Ms: summary.percentile(0.99),
    })),
    shares: servers.all.map(({ server }, i) => (server.arrived / all) * (heavy / weights[i]!)),
    left: open + clock.timers,
  }
}
