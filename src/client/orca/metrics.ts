/**
 * What is read of a load report of ORCA, whatever its form. Anything that is no finite number, is
 * negative or given twice makes the report invalid.
 */
import { type LoadReport, MOST_IN_FLIGHT, MOST_MICROSECONDS } from '../../core/load-report.ts'
import { IN_FLIGHT_METRIC, LATENCY_METRIC, SERVED_METRIC } from '../../core/orca.ts'

/** Utilizations beyond it are no fractions; A58 sets no bound. */
const MOST_UTILIZATION = 1_000
const MOST_PER_SECOND = 1e9
const MOST_MS = MOST_MICROSECONDS / 1_000

/** The fields by their names in the message; those of the map `named_metrics` are ours. */
export type MetricName =
  | 'application_utilization'
  | 'cpu_utilization'
  | 'rps'
  | 'rps_fractional'
  | 'eps'
  | typeof IN_FLIGHT_METRIC
  | typeof LATENCY_METRIC
  | typeof SERVED_METRIC

const MOST: Readonly<Record<MetricName, number>> = {
  application_utilization: MOST_UTILIZATION,
  cpu_utilization: MOST_UTILIZATION,
  rps: MOST_PER_SECOND,
  rps_fractional: MOST_PER_SECOND,
  eps: MOST_PER_SECOND,
  [IN_FLIGHT_METRIC]: MOST_IN_FLIGHT,
  [LATENCY_METRIC]: MOST_MS,
  [SERVED_METRIC]: MOST_MS,
}
/** The map of metrics that each application names as it likes. */
export const NAMED_METRICS = 'named_metrics'
const NAMED: ReadonlySet<string> = new Set([IN_FLIGHT_METRIC, LATENCY_METRIC, SERVED_METRIC])

export function isOrcaField(name: string): name is MetricName {
  return !NAMED.has(name) && Object.hasOwn(MOST, name)
}

export class OrcaMetrics {
  valid = true
  readonly #values = new Map<MetricName, number>()

  /** A field of the message. Those that no balancer uses are ignored. */
  field(name: string, value: number): void {
    if (isOrcaField(name)) this.#put(name, value)
  }

  /** An entry of `named_metrics`. */
  named(name: string, value: number): void {
    if (NAMED.has(name)) this.#put(name as MetricName, value)
  }

  #put(name: MetricName, value: number): void {
    // Also false for NaN.
    if (!(value >= 0 && value <= MOST[name]) || this.#values.has(name)) this.valid = false
    else this.#values.set(name, value)
  }

  /** `undefined`: it says nothing that a balancer can use. */
  report(now: number): LoadReport | undefined {
    if (!this.valid) return undefined
    const values = this.#values
    const inFlight = values.get(IN_FLIGHT_METRIC)
    const latencyMs = values.get(LATENCY_METRIC) ?? 0
    const servedMs = values.get(SERVED_METRIC)
    if (inFlight !== undefined && latencyMs > 0 && servedMs !== undefined) {
      return { inFlight: Math.round(inFlight), latencyMs, servedMs, arrivedAt: now }
    }
    const capacity = this.#capacity()
    return capacity === 0 ? undefined : { inFlight: 0, latencyMs: 0, servedMs: 0, arrivedAt: now, capacity }
  }

  /** Requests a second, with errors counted as if they took a whole server (A58, penalty 1). */
  #capacity(): number {
    const value = (name: MetricName): number => this.#values.get(name) ?? 0
    const rps = value('rps_fractional') || value('rps')
    const utilization = value('application_utilization') || value('cpu_utilization')
    if (rps === 0 || utilization === 0) return 0
    const capacity = rps / (utilization + value('eps') / rps)
    // More than any rate may be makes no sense, and would not add up.
    return capacity <= MOST_PER_SECOND ? capacity : 0
  }
}
