/** Processes that report to the traffic of a registry, without sockets and on a fake clock. */

import { TrafficQuestions } from '../../../src/registry/traffic/ask.ts'
import { GRAPH_PARTS, type Graph, type GraphEdge, graphOf } from '../../../src/registry/traffic/graph.ts'
import type { TrafficSession } from '../../../src/registry/traffic/processes.ts'
import { seriesOf, type TrafficSeriesAnswer } from '../../../src/registry/traffic/series.ts'
import { Traffic } from '../../../src/registry/traffic/traffic.ts'
import { LatencyDigest } from '../../../src/telemetry/traffic/latency-digest.ts'
import type { ServedSeries, TrafficMark, TrafficSeries } from '../../../src/telemetry/traffic/traffic-message.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

export const LEASE_MS = 15_000

/** A digest of these latencies, in ms. */
export function latencies(...ms: readonly number[]): string {
  const digest = new LatencyDigest()
  for (const one of ms) digest.record(one)
  return digest.encode()
}

export class TrafficRig {
  readonly clock = new FakeClock({ wallNow: Date.UTC(2026, 5, 1, 12, 0, 3) })
  readonly listed = new Set<string>()
  readonly failures: unknown[] = []
  readonly traffic = new Traffic({
    clock: this.clock,
    leaseMs: LEASE_MS,
    beatMs: LEASE_MS / 3,
    isKnown: (service) => !service.startsWith('unknown'),
    lists: (service, id) => this.listed.has(`${service}/${id}`),
    failed: (error) => this.failures.push(error),
  })
  readonly #questions = new TrafficQuestions(this.traffic, { id: 'r1', others: () => [], ask: async () => [] })
  readonly #processes: Reporter[] = []

  /** `reports: false`: of an older version. */
  process(service: string, name = 'p1', reports = true): Reporter {
    const reporter = new Reporter(this, service, `${service} ${name}`, reports)
    this.#processes.push(reporter)
    return reporter
  }

  /** Everybody who lives beats. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 1_000) {
      this.clock.advance(Math.min(1_000, left))
      for (const process of this.#processes) process.beat()
      await this.traffic.work()
    }
  }

  /** Of the window that ended `agoMs` before the latest. */
  async graph(windowMs: number, agoMs = 0): Promise<Graph> {
    const end = (await this.#questions.latest()) - agoMs
    const asked = await this.#questions.ask({ windowMs, stepMs: windowMs, by: GRAPH_PARTS }, end, false)
    const window = { at: this.traffic.wallOf(end), windowMs, isLive: agoMs === 0 }
    return await graphOf(asked, window, { services: new Map(), leases: { isFrozen: () => false } })
  }

  async edge(from: string, to: string, windowMs: number, agoMs = 0): Promise<GraphEdge | undefined> {
    return (await this.graph(windowMs, agoMs)).edges.find((edge) => edge.from === from && edge.to === to)
  }

  async series(from: string, to: string, windowMs: number, stepMs: number): Promise<TrafficSeriesAnswer> {
    const end = await this.#questions.latest()
    const asked = await this.#questions.ask({ windowMs, stepMs, by: [], from, to }, end, false)
    return seriesOf(asked, { at: this.traffic.wallOf(end), windowMs, stepMs, reporters: [from] })
  }
}

export class Reporter implements TrafficSession {
  readonly process: string
  readonly who: { readonly service: string }
  readonly instances = new Set<string>()
  readonly notAfter = Date.UTC(2027, 0, 1)
  heardAt: number
  sequence = 0
  readonly #rig: TrafficRig
  #beats = true

  constructor(rig: TrafficRig, service: string, name: string, reports: boolean) {
    this.#rig = rig
    this.process = name
    this.who = { service }
    this.heardAt = rig.clock.now()
    rig.traffic.begin(this, reports)
  }

  beat(): void {
    if (this.#beats) this.heardAt = this.#rig.clock.now()
  }

  /** It hangs, or its network does. */
  silence(): void {
    this.#beats = false
  }

  recover(): void {
    this.#beats = true
    this.beat()
  }

  send(
    series: readonly TrafficSeries[],
    forMs = 5_000,
    marks: readonly TrafficMark[] = [],
    served: readonly ServedSeries[] = [],
  ): void {
    this.beat()
    this.sequence += 1
    const message = { type: 'traffic', sequence: this.sequence, forMs, series, marks, served }
    this.#rig.traffic.report(this, JSON.parse(JSON.stringify(message)))
  }

  calls(to: string, calls: number, more: Partial<TrafficSeries> = {}, forMs = 5_000): void {
    this.send([{ to, protocol: 'http', method: 'GET', calls, ...more }], forMs)
  }

  leave(isOver: boolean): void {
    this.#beats = false
    this.#rig.traffic.leave(this, isOver)
  }
}
