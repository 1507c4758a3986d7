/**
 * The golden metrics of calls: one set of series per (peer, method, route). `service` is the
 * process that counts and `peer` the other side, so the series of all form the service graph.
 */
import type { Attempt } from '../core/attempt.ts'
import type { Call, CallKind } from '../core/call.ts'
import type { Outcome } from '../core/outcome.ts'
import type { TransportName } from '../core/transport.ts'
import { CallAttributes } from './call-attributes.ts'
import type { Histogram } from './histogram.ts'
import { CLIENT_CALLS, SERVER_CALLS } from './metric-definitions.ts'
import { type Counter, type Family, type Metrics, MOST_SERIES, OVERFLOW } from './metrics.ts'
import { CallTally } from './traffic/call-tally.ts'
import type { ServedCounts } from './traffic/served-counts.ts'
import type { SeriesNames } from './traffic/traffic-cell.ts'
import type { TrafficCounts } from './traffic/traffic-counts.ts'
import { OUTSIDE } from './traffic/traffic-message.ts'

const MOST_KINDS = 1_024

export type Side = 'client' | 'server'

/** RFC 9110 and 5789; all others share one label (semantic conventions: `http.request.method`). */
const KNOWN_METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'CONNECT',
])
export const OTHER_METHOD = '_OTHER'

/** The value of `peer` for callers without an identity. */
export const UNKNOWN_PEER = 'unknown'

/**
 * The label `method`: a known method for HTTP; of low cardinality by contract for other protocols
 * ({@link Call.kind}).
 */
export function methodClass(call: Call): string {
  const { method, protocol } = call.kind
  return protocol !== 'http' || KNOWN_METHODS.has(method) ? method : OTHER_METHOD
}

interface Families {
  readonly requests: Family<Counter>
  readonly durations: Family<Histogram>
  /** Clients only: a server's request is its one attempt. */
  readonly attempts: Family<Counter> | undefined
  readonly retries: Family<Counter> | undefined
  /** Attempts on clients, requests on servers. */
  readonly carried: Family<Counter>
}

/** The values of `service`, `peer`, `method` and `route`; without a route, the last is empty. */
type Labels = readonly [service: string, peer: string, method: string, route: string]

/** The series of one (peer, method, route). */
class CallSeries {
  readonly labels: Labels
  readonly ok: Counter
  readonly duration: Histogram
  readonly attemptOk: Counter | undefined
  inFlight = 0
  /** The same calls, counted for the registry. Made when it asks. */
  tally: CallTally | undefined = undefined
  /** Made when the first call is exported. */
  attributes: CallAttributes | undefined = undefined
  readonly #families: Families
  /** Of the counters: a server's have no route. */
  readonly #own: readonly string[]
  readonly #failed = new Map<string, Counter>()
  readonly #attemptFailed = new Map<string, Counter>()
  readonly #retried = new Map<string, Counter>()
  /** The last transport, which is mostly the next, and its counter. */
  #transport: TransportName | undefined
  #carried: Counter | undefined

  constructor(families: Families, labels: Labels) {
    this.#families = families
    this.labels = labels
    const own = families.attempts === undefined ? labels.slice(0, 3) : labels
    this.#own = own
    this.ok = families.requests.series(...own, 'ok')
    this.duration = families.durations.series(...own)
    this.attemptOk = families.attempts?.series(...labels, 'ok')
  }

  failed(code: string): void {
    this.#count(this.#failed, this.#families.requests, code)
  }

  attemptFailed(code: string): void {
    this.#count(this.#attemptFailed, this.#families.attempts, code)
  }

  retried(code: string): void {
    this.#count(this.#retried, this.#families.retries, code)
  }

  carriedBy(transport: TransportName): void {
    if (transport !== this.#transport) {
      const [service, peer] = this.labels
      this.#carried = this.#families.carried.series(service, peer, transport)
      this.#transport = transport
    }
    this.#carried!.value += 1
  }

  #count(known: Map<string, Counter>, family: Family<Counter> | undefined, code: string): void {
    if (family === undefined) return
    let counter = known.get(code)
    if (counter === undefined) {
      counter = family.series(...this.#own, code)
      known.set(code, counter)
    }
    counter.value += 1
  }
}

export class CallMetrics {
  readonly #metrics: Metrics
  readonly #wallNow: () => number
  readonly #families: Families
  readonly #overflowed: Counter
  readonly #service: string
  readonly #client: boolean
  readonly #traffic: TrafficCounts
  readonly #series = new Map<string, Map<string, CallSeries>>()
  readonly #byKind = new Map<CallKind, CallSeries>()
  #size = 0
  #foundKind: CallKind | undefined
  #foundPeer: string | undefined
  #found: CallSeries | undefined
  #overflow: CallSeries | undefined

  /** `wallNow`: of exemplars, in ms since 1970. */
  constructor(metrics: Metrics, side: Side, service: string, traffic: TrafficCounts, wallNow: () => number) {
    this.#wallNow = wallNow
    this.#metrics = metrics
    this.#service = service
    this.#traffic = traffic
    this.#client = side === 'client'
    const { requests, durations, carried, inFlight } = this.#client ? CLIENT_CALLS : SERVER_CALLS
    this.#families = {
      requests: metrics.counter(requests),
      durations: metrics.histogram(durations),
      attempts: this.#client ? metrics.counter(CLIENT_CALLS.attempts) : undefined,
      retries: this.#client ? metrics.counter(CLIENT_CALLS.retries) : undefined,
      carried: metrics.counter(carried),
    }
    this.#overflowed = metrics.overflowed(requests.name)
    metrics.gauge(inFlight, () => this.#inFlight())
  }

  callStarted(call: Call): void {
    const series = this.#seriesOf(call)
    series.inFlight += 1
    call.metered = series
    if (!this.#client) (call.servedBy as ServedCounts | undefined)?.started()
    if (this.#traffic.on) this.#tallyOf(series, call)?.touch()
  }

  callRouted(call: Call): void {
    const before = call.metered as CallSeries | undefined
    if (before === undefined) return
    before.inFlight -= 1
    if (this.#traffic.on) this.#tallyOf(before, call)?.touch()
    this.callStarted(call)
  }

  /** An attempt beyond the first starts. */
  attemptFollows(attempt: Attempt): void {
    const { call } = attempt
    const series = call.metered as CallSeries | undefined
    if (series !== undefined && this.#traffic.on) this.#tallyOf(series, call)?.follows(attempt)
  }

  attemptEnded(attempt: Attempt, outcome: Outcome, waitMs: number): void {
    const series = attempt.call.metered as CallSeries | undefined
    if (series === undefined) return
    if (attempt.transport !== undefined) series.carriedBy(attempt.transport)
    if (outcome.verdict === 'success') {
      if (series.attemptOk !== undefined) series.attemptOk.value += 1
      // A status such as 404 that the policy lists.
      if (waitMs >= 0) series.retried('ok')
      return
    }
    const code = outcome.code ?? outcome.verdict
    series.attemptFailed(code)
    if (waitMs >= 0) series.retried(code)
  }

  callEnded(call: Call, outcome: Outcome, now: number): void {
    const series = call.metered as CallSeries | undefined
    if (series === undefined) return
    call.metered = undefined
    series.inFlight -= 1
    if (outcome.verdict === 'success') series.ok.value += 1
    else series.failed(outcome.code ?? outcome.verdict)
    const ms = call.kind.streaming ? undefined : now - call.startedAt
    if (ms !== undefined) {
      series.duration.record(ms)
      if (call.observed !== undefined && call.trace?.sampled) {
        series.duration.exemplify(call.trace, ms, this.#wallNow())
      }
    }
    if (!this.#client) (call.servedBy as ServedCounts | undefined)?.ended(outcome, ms)
    if (this.#traffic.on) this.#tallyOf(series, call)?.ended(call, outcome, ms)
    const { exporter } = this.#metrics
    if (ms !== undefined && exporter?.isOn()) {
      series.attributes ??= new CallAttributes(this.#client, series.labels)
      exporter.callEnded(this.#client ? 'client' : 'server', call, outcome, ms, series.attributes)
    }
  }

  #tallyOf(series: CallSeries, call: Call): CallTally | undefined {
    // The other callers count their calls themselves.
    if (!this.#client && !call.outside) return undefined
    series.tally ??= new CallTally(this.#traffic, this.#namesOf(series, call), this.#client ? series : undefined)
    return series.tally
  }

  /** `undefined`: the calls of several peers, methods or routes. */
  #namesOf(series: CallSeries, { kind: { protocol } }: Call): SeriesNames | undefined {
    if (series === this.#overflow) return undefined
    const [, to, method, route] = series.labels
    if (this.#client) return { to, protocol, method, route }
    return { side: 'server', from: OUTSIDE, protocol, method, ...this.#traffic.place }
  }

  #seriesOf(call: Call): CallSeries {
    return this.#client ? (this.#byKind.get(call.kind) ?? this.#ofKind(call)) : this.#find(call.peer, call)
  }

  /**
   * A client reuses its kinds, so one look-up finds the series. The bound protects against clients
   * that do not.
   */
  #ofKind(call: Call): CallSeries {
    const series = this.#find(call.kind.service, call)
    if (this.#byKind.size >= MOST_KINDS) this.#byKind.clear()
    this.#byKind.set(call.kind, series)
    return series
  }

  #find(peer: string | undefined, call: Call): CallSeries {
    // A server has one kind per method, and most requests come from the same peer as the last.
    if (call.kind === this.#foundKind && peer === this.#foundPeer) return this.#found!
    const method = methodClass(call)
    const route = call.routed?.name ?? ''
    const series =
      this.#series.get(peer ?? UNKNOWN_PEER)?.get(keyOf(method, route)) ??
      this.#add(peer ?? UNKNOWN_PEER, method, route)
    // Each overflow is counted.
    if (series !== this.#overflow) {
      this.#foundKind = call.kind
      this.#foundPeer = peer
      this.#found = series
    }
    return series
  }

  #add(peer: string, method: string, route: string): CallSeries {
    if (this.#size >= MOST_SERIES) {
      this.#overflowed.value += 1
      const route = this.#client ? OVERFLOW : ''
      this.#overflow ??= new CallSeries(this.#families, [OVERFLOW, OVERFLOW, OVERFLOW, route])
      return this.#overflow
    }
    const series = new CallSeries(this.#families, [this.#service, peer, method, route])
    let methods = this.#series.get(peer)
    if (methods === undefined) {
      methods = new Map()
      this.#series.set(peer, methods)
    }
    methods.set(keyOf(method, route), series)
    this.#size += 1
    return series
  }

  *#inFlight() {
    for (const methods of this.#series.values()) for (const series of methods.values()) yield observation(series)
    if (this.#overflow !== undefined) yield observation(this.#overflow)
  }
}

function observation({ labels: [service, peer, method, route], inFlight }: CallSeries) {
  return { labels: { service, peer, method, route }, value: inFlight }
}

/** A method contains no space. */
function keyOf(method: string, route: string): string {
  return route === '' ? method : `${method} ${route}`
}
