/**
 * Writes load reports of ORCA. What all answers of a period share is encoded once; an answer costs
 * one string.
 */
import { inFlightOf, microsecondsOf } from '../core/load-header.ts'
import type { LoadReport } from '../core/load-report.ts'
import { IN_FLIGHT_METRIC, LATENCY_METRIC, ORCA_FIELD, SERVED_METRIC } from '../core/orca.ts'

export interface Utilization {
  /** Of the event loop, from 0 to 1. */
  readonly application: number
  /** Of all cores, from 0 to 1. */
  readonly cpu: number
  readonly requestsPerSecond: number
  readonly errorsPerSecond: number
}

const NAMED = [IN_FLIGHT_METRIC, LATENCY_METRIC, SERVED_METRIC] as const
const DIGITS = 1e4
/** Wire types of protobuf. */
const FIXED64 = 1
const BYTES = 2

export class OrcaWriter {
  #text = ''
  /** The utilization, then the named metrics. */
  readonly #bytes: Buffer
  readonly #utilizationAt: readonly number[]
  readonly #namedAt: readonly number[]
  #known = false

  constructor() {
    const bytes: number[] = []
    const place = (field: number): number => {
      bytes.push((field << 3) | FIXED64)
      return bytes.push(...EIGHT_BYTES) - 8
    }
    const { application_utilization, cpu_utilization, rps_fractional, eps, named_metrics } = ORCA_FIELD
    this.#utilizationAt = [application_utilization, cpu_utilization, rps_fractional, eps].map(place)
    this.#namedAt = NAMED.map((name) => {
      // An entry of a map is a message: key 1, value 2.
      bytes.push((named_metrics << 3) | BYTES, name.length + 11, (1 << 3) | BYTES, name.length, ...Buffer.from(name))
      return place(2)
    })
    this.#bytes = Buffer.from(bytes)
  }

  /** From now on. `undefined`: it is not known. */
  utilization(now: Utilization | undefined): void {
    this.#known = now !== undefined
    if (now === undefined) return
    const values = [now.application, now.cpu, now.requestsPerSecond, now.errorsPerSecond].map(rounded)
    const [application, cpu, rps, eps] = values
    this.#text = `application_utilization=${application},cpu_utilization=${cpu},rps_fractional=${rps},eps=${eps}`
    for (const [i, at] of this.#utilizationAt.entries()) this.#bytes.writeDoubleLE(values[i]!, at)
  }

  /** `undefined`: there is nothing to report. */
  text(load: LoadReport | undefined): string | undefined {
    if (load === undefined) return this.#known ? `TEXT ${this.#text}` : undefined
    return `TEXT ${this.#known ? `${this.#text},` : ''}${namedText(load)}`
  }

  /** As base64. */
  binary(load: LoadReport | undefined): string | undefined {
    const bytes = this.#bytes
    const named = this.#utilizationAt.length * FIELD_BYTES
    if (load === undefined) return this.#known ? bytes.toString('base64', 0, named) : undefined
    const [inFlight, latency, served] = this.#namedAt
    bytes.writeDoubleLE(inFlightOf(load), inFlight)
    bytes.writeDoubleLE(msOf(load.latencyMs), latency)
    bytes.writeDoubleLE(msOf(load.servedMs), served)
    return bytes.toString('base64', this.#known ? 0 : named)
  }
}

const EIGHT_BYTES = new Array<number>(8).fill(0)
const FIELD_BYTES = 9

function namedText(load: LoadReport): string {
  const prefix = 'named_metrics.'
  const [inFlight, latency, served] = [inFlightOf(load), msOf(load.latencyMs), msOf(load.servedMs)]
  return `${prefix}${IN_FLIGHT_METRIC}=${inFlight},${prefix}${LATENCY_METRIC}=${latency},${prefix}${SERVED_METRIC}=${served}`
}

/** Within the bounds of `inmesh-load`. */
function msOf(ms: number): number {
  return microsecondsOf(ms) / 1_000
}

function rounded(value: number): number {
  return Math.round(value * DIGITS) / DIGITS
}
