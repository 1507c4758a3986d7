/**
 * A load report as text, for transports without a binary field: requests in flight, latency and the
 * time that this call took, both in µs, as in `3;12500;9800`.
 */
import { digitsOf } from './digits.ts'
import { type LoadReport, MOST_IN_FLIGHT, MOST_MICROSECONDS } from './load-report.ts'

const MOST_DIGITS = 10

export function formatLoad(load: LoadReport): string {
  return `${inFlightOf(load)};${microsecondsOf(load.latencyMs)};${microsecondsOf(load.servedMs)}`
}

/** `undefined`: it is no report. `now`: when it arrived. */
export function parseLoad(text: string | readonly string[] | undefined, now: number): LoadReport | undefined {
  if (typeof text !== 'string') return undefined
  const first = text.indexOf(';')
  const second = text.indexOf(';', first + 1)
  if (first === -1 || second === -1) return undefined
  const inFlight = digitsOf(text.slice(0, first), MOST_DIGITS)
  const latency = digitsOf(text.slice(first + 1, second), MOST_DIGITS)
  const served = digitsOf(text.slice(second + 1), MOST_DIGITS)
  if (inFlight < 0 || latency < 0 || served < 0) return undefined
  if (inFlight > MOST_IN_FLIGHT || latency > MOST_MICROSECONDS || served > MOST_MICROSECONDS) return undefined
  return { inFlight, latencyMs: latency / 1_000, servedMs: served / 1_000, arrivedAt: now }
}

export function inFlightOf({ inFlight }: LoadReport): number {
  return Math.min(inFlight, MOST_IN_FLIGHT)
}

/** At least 1: a latency of 0 would say that none is known. */
export function microsecondsOf(ms: number): number {
  return Math.min(Math.max(1, Math.round(ms * 1_000)), MOST_MICROSECONDS)
}
