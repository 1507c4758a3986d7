/**
 * The metrics of TCP connections, by the service on the other side. Bytes are those of the
 * application, counted while the connection is open.
 */
import { UNKNOWN_PEER } from './call-metrics.ts'
import type { HistogramDefinition } from './define-metric.ts'
import type { Histogram } from './histogram.ts'
import { CLIENT_TCP, SERVER_TCP } from './metric-definitions.ts'
import type { Counter, Family, Metrics } from './metrics.ts'

/** The series of one peer. */
interface PeerSeries {
  readonly labels: readonly [service: string, peer: string]
  readonly opened: Counter
  readonly received: Counter
  readonly sent: Counter
  readonly duration: Histogram
  open: number
}

export class TcpMetrics {
  readonly #service: string
  readonly #metrics: Metrics
  readonly #lasting: HistogramDefinition
  readonly #opened: Family<Counter>
  readonly #closed: Family<Counter>
  readonly #bytes: Family<Counter>
  readonly #durations: Family<Histogram>
  readonly #peers = new Map<string, PeerSeries>()

  constructor(metrics: Metrics, side: 'client' | 'server', service: string) {
    this.#service = service
    this.#metrics = metrics
    const { opened, closed, bytes, durations, open } = side === 'client' ? CLIENT_TCP : SERVER_TCP
    this.#opened = metrics.counter(opened)
    this.#closed = metrics.counter(closed)
    this.#bytes = metrics.counter(bytes)
    this.#durations = metrics.histogram(durations)
    this.#lasting = durations
    metrics.gauge(open, () => this.#open())
  }

  /** `peer`: the service on the other side; `undefined`: one without an identity. */
  opened(peer: string | undefined, now: number): TcpMeter {
    const series = this.#seriesOf(peer ?? UNKNOWN_PEER)
    series.open += 1
    series.opened.value += 1
    return new TcpMeter(series, now, (code, ms) => {
      this.#closed.series(...series.labels, code).value += 1
      const [service, own] = series.labels
      const { exporter } = this.#metrics
      if (exporter?.isOn()) exporter.lasted(this.#lasting, ms, { service, peer: own })
    })
  }

  /** Peers are services with an identity, or those that we call, so their number is bounded. */
  #seriesOf(peer: string): PeerSeries {
    let series = this.#peers.get(peer)
    if (series === undefined) {
      const labels = [this.#service, peer] as const
      series = {
        labels,
        opened: this.#opened.series(...labels),
        received: this.#bytes.series(...labels, 'received'),
        sent: this.#bytes.series(...labels, 'sent'),
        duration: this.#durations.series(...labels),
        open: 0,
      }
      this.#peers.set(peer, series)
    }
    return series
  }

  *#open() {
    for (const { labels, open } of this.#peers.values()) {
      yield { labels: { service: labels[0], peer: labels[1] }, value: open }
    }
  }
}

/** Counts one connection. */
export class TcpMeter {
  readonly #series: PeerSeries
  readonly #openedAt: number
  readonly #closed: (code: string, ms: number) => void
  #received = 0
  #sent = 0

  constructor(series: PeerSeries, openedAt: number, closed: (code: string, ms: number) => void) {
    this.#series = series
    this.#openedAt = openedAt
    this.#closed = closed
  }

  /** The bytes of the connection so far. */
  moved(received: number, sent: number): void {
    this.#series.received.value += received - this.#received
    this.#series.sent.value += sent - this.#sent
    this.#received = received
    this.#sent = sent
  }

  /** `code`: `ok`, or that of an error. */
  closed(code: string, now: number): void {
    this.#series.open -= 1
    this.#series.duration.record(now - this.#openedAt)
    this.#closed(code, now - this.#openedAt)
  }
}
