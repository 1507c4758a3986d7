/**
 * Counts and traces the copies of calls that routes mirror. A mirror's span is a child of its
 * call's, and neither the metrics nor the observers of calls see it.
 */
import type { Attempt } from '../core/attempt.ts'
import type { Call } from '../core/call.ts'
import type { Outcome } from '../core/outcome.ts'
import type { Mirrored, MirrorTelemetry } from '../core/telemetry.ts'
import type { LoggedCalls } from './access-log/access-log.ts'
import { methodClass } from './call-metrics.ts'
import { MIRRORS } from './metric-definitions.ts'
import { type Counter, type Family, type Metrics, MOST_SERIES, OVERFLOW } from './metrics.ts'
import type { Tracing } from './tracing.ts'
import { CallTally } from './traffic/call-tally.ts'
import type { TrafficCounts } from './traffic/traffic-counts.ts'

/** The series of one mirror. */
class MirrorSeries {
  readonly labels: readonly string[]
  inFlight = 0
  /** The same copies, counted for the registry by called service, protocol and method. */
  readonly tallies = new Map<string, CallTally>()

  constructor(labels: readonly string[]) {
    this.labels = labels
  }
}

export class MirrorMetricsAndSpans implements MirrorTelemetry {
  readonly #service: string
  readonly #sent: Family<Counter>
  readonly #dropped: Family<Counter>
  readonly #traffic: TrafficCounts
  readonly #tracing: Tracing | undefined
  readonly #accessLog: LoggedCalls | undefined
  /** By peer and route: documents bound them, and this their changes. */
  readonly #series = new Map<string, MirrorSeries>()
  readonly #overflow = new MirrorSeries([OVERFLOW, OVERFLOW, OVERFLOW])
  readonly #other: CallTally

  constructor(
    metrics: Metrics,
    service: string,
    traffic: TrafficCounts,
    tracing: Tracing | undefined,
    accessLog: LoggedCalls | undefined,
  ) {
    this.#service = service
    this.#traffic = traffic
    this.#other = new CallTally(traffic, undefined)
    this.#tracing = tracing
    this.#accessLog = accessLog
    this.#sent = metrics.counter(MIRRORS.sent)
    this.#dropped = metrics.counter(MIRRORS.dropped)
    metrics.gauge(MIRRORS.inFlight, () => this.#inFlight())
  }

  mirrorStarted(mirrored: Mirrored, mirror: Attempt, of: Call): void {
    const series = this.#seriesOf(mirrored)
    series.inFlight += 1
    if (this.#traffic.on) this.#count(series, mirrored, mirror, of)
    if (of.observed !== undefined) this.#tracing?.mirrorStarted(mirror, of)
    if (this.#accessLog !== undefined) this.#accessLog.mirrorStarted(mirror, of)
  }

  mirrorEnded(mirrored: Mirrored, mirror: Attempt, outcome: Outcome): void {
    const series = this.#seriesOf(mirrored)
    series.inFlight -= 1
    const code = outcome.verdict === 'success' ? 'ok' : (outcome.code ?? outcome.verdict)
    this.#sent.series(...series.labels, code).value += 1
    if (mirror.observed !== undefined) this.#tracing?.mirrorEnded(mirror, outcome)
    if (this.#accessLog !== undefined) this.#accessLog.mirrorEnded(mirror, outcome)
  }

  mirrorDropped(mirrored: Mirrored, reason: string): void {
    this.#dropped.series(...this.#seriesOf(mirrored).labels, reason).value += 1
  }

  #count(series: MirrorSeries, { route }: Mirrored, mirror: Attempt, of: Call): void {
    const { service, protocol } = of.kind
    const method = methodClass(of)
    const key = `${service}\n${protocol}\n${method}`
    let tally = series === this.#overflow ? this.#other : series.tallies.get(key)
    if (tally === undefined) {
      // As its call: where the endpoint is of another service, the route has led there.
      const names = { to: service, protocol, method, route }
      tally = series.tallies.size < MOST_SERIES ? new CallTally(this.#traffic, names) : this.#other
      if (tally !== this.#other) series.tallies.set(key, tally)
    }
    tally.mirrored(mirror.endpoint)
  }

  #seriesOf({ peer, route }: Mirrored): MirrorSeries {
    const key = `${peer}\n${route}`
    let series = this.#series.get(key)
    if (series === undefined) {
      if (this.#series.size >= MOST_SERIES) return this.#overflow
      series = new MirrorSeries([this.#service, peer, route])
      this.#series.set(key, series)
    }
    return series
  }

  *#inFlight() {
    for (const { labels, inFlight } of this.#series.values()) {
      const [service, peer, route] = labels as [string, string, string]
      yield { labels: { service, peer, route }, value: inFlight }
    }
  }
}
