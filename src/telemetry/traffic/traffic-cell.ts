/** The calls of one series since they were last reported. */
import type { Endpoint } from '../../core/endpoint.ts'
import type { ErrorCode } from '../../core/errors.ts'
import type { Outcome, Verdict } from '../../core/outcome.ts'
import { LatencyDigest } from './latency-digest.ts'
import { type OUTSIDE, TRAFFIC_LIMITS, type TrafficSeries, UNPRINTABLE } from './traffic-message.ts'

/** Counts the codes beyond the limit of a series. */
const OTHER_CODES = 'other'

type Draft = { -readonly [K in keyof TrafficSeries]: TrafficSeries[K] }

/** The names of a series. */
export interface SeriesNames {
  readonly to?: string | undefined
  readonly side?: 'server'
  readonly from?: typeof OUTSIDE
  readonly via?: string | undefined
  readonly protocol?: string
  readonly method?: string
  readonly route?: string
  readonly version?: string | undefined
  readonly zone?: string | undefined
}

export class TrafficCell {
  readonly names: SeriesNames
  calls = 0
  retries = 0
  hedges = 0
  mirrored = 0
  /** Calls in flight, set when it is reported; `undefined`: their number has not changed. */
  inFlight: number | undefined
  #tls: boolean | undefined
  #codes: Map<string, number> | undefined
  #ms: LatencyDigest | undefined

  constructor(names: SeriesNames) {
    this.names = names
  }

  /** `ms`: how long the call took, unless that is no latency. */
  ended({ verdict, code }: Outcome, endpoint: Endpoint | undefined, ms: number | undefined): void {
    this.calls += 1
    if (endpoint !== undefined) this.#tls = endpoint.tls && this.#tls !== false
    if (verdict !== 'success') this.#fail(code ?? verdict)
    if (ms === undefined || !this.#isLatency(endpoint, verdict, code)) return
    this.#ms ??= new LatencyDigest()
    this.#ms.record(ms)
  }

  /** What was refused or given up, or was answered in this process, was not the service's work. */
  #isLatency(endpoint: Endpoint | undefined, verdict: Verdict, code: ErrorCode | undefined): boolean {
    if (endpoint === undefined && this.names.side === undefined) return false
    // A deadline that was too short to blame the service is time that it took, all the same.
    return verdict !== 'refused' && (verdict !== 'cancelled' || code === 'deadline-exceeded')
  }

  #fail(code: string): void {
    this.#codes ??= new Map()
    const full = this.#codes.size >= TRAFFIC_LIMITS.codes - 1 && !this.#codes.has(code)
    const counted = full ? OTHER_CODES : code
    this.#codes.set(counted, (this.#codes.get(counted) ?? 0) + 1)
  }

  series(): TrafficSeries {
    const series: Draft = {}
    for (const [name, value] of Object.entries(this.names)) {
      if (value !== undefined && value !== '') series[name as 'route'] = printable(value)
    }
    if (this.#tls !== undefined) series.tls = this.#tls
    if (this.calls > 0) series.calls = this.calls
    if (this.#codes !== undefined) series.codes = Object.fromEntries(this.#codes)
    if (this.retries > 0) series.retries = this.retries
    if (this.hedges > 0) series.hedges = this.hedges
    if (this.mirrored > 0) series.mirrored = this.mirrored
    if (this.inFlight !== undefined) series.inFlight = this.inFlight
    if (this.#ms !== undefined) series.ms = this.#ms.encode()
    return series
  }
}

const CHARACTER = new RegExp(UNPRINTABLE, 'gu')

/** As the reader of the message takes it. */
export function printable(text: string): string {
  const short = text.length > TRAFFIC_LIMITS.text ? text.slice(0, TRAFFIC_LIMITS.text) : text
  return UNPRINTABLE.test(short) ? short.replace(CHARACTER, '?') : short
}
