/** Deadlines on the wire: the remaining time as a duration, so that no two clocks are compared. */
import { digitsOf } from './digits.ts'

/** Upper bound of a timeout that a caller may give one call, or a unary gRPC call ask for. */
export const LONGEST_TIMEOUT_MS = 300_000
/** Upper bound of a document's timeout, and of what an HTTP request may ask for. */
export const LONGEST_DEADLINE_MS = 86_400_000

/**
 * Reads a remaining time. `undefined`: no header; `'malformed'`: anything but 1 to 9 digits; 0:
 * already expired.
 */
export function parseTimeoutHeader(header: string | undefined): number | undefined | 'malformed' {
  if (header === undefined) return undefined
  const ms = digitsOf(header, 9)
  return ms < 0 ? 'malformed' : Math.min(ms, LONGEST_DEADLINE_MS)
}

/** Whole ms, rounded down, so that the callee gives up no later than the caller. */
export function formatTimeoutHeader(remainingMs: number): string {
  return String(Math.max(0, Math.min(Math.floor(remainingMs), LONGEST_DEADLINE_MS)))
}

const GRPC_UNIT_MS: Readonly<Record<string, number>> = Object.freeze({
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
})

/**
 * Reads a `grpc-timeout` in ms: 1 to 8 digits and a unit, nothing else (gRPC over HTTP/2,
 * "Requests"). `undefined`: no header; 0: already expired. It is not cut: 99,999,999 hours is how a
 * caller asks to watch for ever.
 */
export function parseGrpcTimeout(header: string | undefined): number | undefined | 'malformed' {
  if (header === undefined) return undefined
  const unit = GRPC_UNIT_MS[header.charAt(header.length - 1)]
  if (unit === undefined || header.length < 2 || header.length > 9) return 'malformed'
  let value = 0
  for (let i = 0; i < header.length - 1; i++) {
    const digit = header.charCodeAt(i) - 0x30
    if (digit < 0 || digit > 9) return 'malformed'
    value = value * 10 + digit
  }
  return value * unit
}

/** Rounded down. Below 100 ms in µs, because whole ms would lose up to a tenth. */
export function formatGrpcTimeout(remainingMs: number): string {
  if (remainingMs < 100) return `${Math.max(0, Math.floor(remainingMs * 1_000))}u`
  if (remainingMs < 1e8) return `${Math.floor(remainingMs)}m`
  return `${Math.min(Math.floor(remainingMs / 1_000), 99_999_999)}S`
}
