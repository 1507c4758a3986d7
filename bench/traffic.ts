/**
 * Measures what reports of calls to the registry cost a process: CPU time at 1,000 calls a second,
 * and each step alone. `node bench/traffic.ts [--quick] [--json]`, after `npm run build`.
 */
import { Attempt } from '../src/core/attempt.ts'
import { Call, type CallKind } from '../src/core/call.ts'
import { systemClock } from '../src/core/clock.ts'
import { Endpoint } from '../src/core/endpoint.ts'
import { SUCCESS } from '../src/core/outcome.ts'
import { createTelemetry } from '../src/telemetry/call-telemetry.ts'
import { Metrics } from '../src/telemetry/metrics.ts'
import { CallTally } from '../src/telemetry/traffic/call-tally.ts'
import { TrafficCounts } from '../src/telemetry/traffic/traffic-counts.ts'
import {
  COMPILED_CALLS,
  figure,
  type Options,
  type Report,
  round,
  runQuestions,
  type Subject,
  withSubjects,
} from './harness.ts'
import { startClient } from './http-client.ts'
import { nanoseconds } from './in-process.ts'
import { startRegistryProcess, startServer } from './testbed.ts'

const SERVICE = 'inventory'
const PER_SECOND = 1_000
const AT_MOST_SHARE = 0.01
const ENDPOINTS = 3
const TWINS = 3
const KIND: CallKind = { service: SERVICE, method: 'GET', protocol: 'http', streaming: false, idempotent: true }

export async function traffic({ quick }: Options): Promise<Report> {
  const shares = await atFixedRate(quick)
  const added = figure(shares.asked.map((share, round) => share - shares.not[round]!))
  const [without, counting] = [counted(false), counted(true)]
  return {
    title: `What reports to the registry cost a process that makes ${PER_SECOND} calls a second`,
    rows: [
      { what: 'CPU without reports, % of a core', found: round(100 * figure(shares.not).median, 2) },
      { what: 'CPU with reports, % of a core', found: round(100 * figure(shares.asked).median, 2) },
      { what: 'to count a call, ns', found: round(counting - without, 0) },
      { what: 'to report 20 series, µs', found: round(reported(20), 0) },
      { what: 'to report 500 series, µs', found: round(reported(500), 0) },
    ],
    targets: [{ what: 'share of a core that reports add', found: added, wanted: { atMost: AT_MOST_SHARE } }],
    figures: { traffic: { addedShare: added.median, countNs: counting - without } },
  }
}

/** Shares of a core, round by round: the two take turns, so that what else runs meets both. */
async function atFixedRate(quick: boolean): Promise<{ asked: number[]; not: number[] }> {
  return withSubjects(async (keep) => {
    const { ready } = keep(await startRegistryProcess({ dev: true }))
    const doors = [{ kind: 'mesh', service: SERVICE, mode: 'strict' }] as const
    const ports: number[] = []
    for (let i = 0; i < ENDPOINTS; i++) {
      ports.push(...keep(await startServer({ registry: ready.url, doors })).ready.ports)
    }
    const client = async (reports: boolean): Promise<Subject> =>
      keep(
        await startClient({
          ...{ way: 'inmesh http(), own trace', ports, registry: ready.url, service: SERVICE },
          traffic: reports,
        }),
      )
    // Two processes that run the same differ by some percent for all of their lives.
    const twins: (readonly [asked: Subject, not: Subject])[] = []
    while (twins.length < (quick ? 1 : TWINS)) twins.push([await client(true), await client(false)])
    const shares = { asked: [] as number[], not: [] as number[] }
    // Two reports each, at the interval of a registry.
    const forMs = 10_000
    for (const one of twins.flat()) await one.ask('run', { calls: COMPILED_CALLS, concurrency: 16, apart: false })
    for (let turn = 0; turn < (quick ? 3 : 12); turn++) {
      const [asked, not] = twins[turn % twins.length]!
      const both = [
        [asked, shares.asked],
        [not, shares.not],
      ] as const
      for (const [subject, of] of turn % 2 === 0 ? both : both.toReversed()) {
        const before = await subject.ask<number>('cpu')
        const made = await subject.ask<number>('pace', { perSecond: PER_SECOND, forMs })
        const cpuUs = (await subject.ask<number>('cpu')) - before
        of.push((cpuUs / made) * (PER_SECOND / 1e6))
      }
    }
    return shares
  })
}

/** Telemetry of a call, begin to end, in ns; endpoints by turns. */
function counted(on: boolean): number {
  const counts = new TrafficCounts()
  if (on) counts.start(() => {})
  const options = { side: 'client', service: 'checkout', metrics: new Metrics(), clock: systemClock } as const
  const telemetry = createTelemetry({ ...options, traffic: counts })
  const endpoints = Array.from({ length: ENDPOINTS }, (_, i) => endpointOf(`v${i}`))
  let turn = 0
  return nanoseconds(20_000, () => {
    const call = new Call(KIND, systemClock.now(), Number.POSITIVE_INFINITY, undefined)
    telemetry.callStarted(call)
    const attempt = new Attempt(call)
    attempt.endpoint = call.endpoint = endpoints[turn++ % ENDPOINTS]!
    call.attempts = 1
    telemetry.attemptStarted(attempt)
    telemetry.attemptEnded(attempt, SUCCESS, -1)
    telemetry.callEnded(call, SUCCESS)
  })
}

/** Taking the counts of as many series and making the text of their message, in µs. */
function reported(series: number): number {
  const counts = new TrafficCounts()
  counts.start(() => {})
  const tallies = Array.from({ length: series }, (_, i) => {
    return new CallTally(counts, { to: SERVICE, protocol: 'http', method: 'GET', route: `route-${i}` })
  })
  const call = Object.assign(new Call(KIND, 0, 1, undefined), { attempts: 1, endpoint: endpointOf('v1') })
  const fill = (): void => {
    for (const tally of tallies) for (let i = 1; i < 10; i++) tally.ended(call, SUCCESS, 3 ** i / 10)
  }
  const filling = nanoseconds(20, () => {
    fill()
    counts.clear()
  })
  const all = nanoseconds(20, () => {
    fill()
    JSON.stringify(counts.take())
  })
  return (all - filling) / 1_000
}

function endpointOf(version: string): Endpoint {
  return new Endpoint(SERVICE, {
    ...{ id: version, address: '10.0.0.1', port: 80, protocol: 'http', tls: true, zone: 'a', version },
    ...{ weight: 100, metadata: {} },
  })
}

if (import.meta.main) await runQuestions([traffic])
