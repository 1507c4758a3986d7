/** Deadlines on the wire: what is left, as a duration, so that no two clocks are ever compared. */

/**
 * No caller waits longer than this for one call; longer wishes are cut (faults-and-attacks A34).
 */
export const LONGEST_TIMEOUT_MS = 300_000

/**
 * Reads a remaining time. `undefined`: no header. `'malformed'`: anything but 1 to 9 digits. Zero
 * means: expired already.
 */
export function parseTimeoutHeader(header: string | undefined): number | undefined | 'malformed' {
  if (header === undefined) return undefined
  if (header.length === 0 || header.length > 9) return 'malformed'
  // By character and not by expression: every request that is served pays for it.
  let ms = 0
  for (let i = 0; i < header.length; i++) {
    const digit = header.charCodeAt(i) - 0x30
    if (digit < 0 || digit > 9) return 'malformed'
    ms = ms * 10 + digit
  }
  return Math.min(ms, LONGEST_TIMEOUT_MS)
}

/** Whole ms, never more than is left, so that the callee gives up no later than the caller. */
export function formatTimeoutHeader(remainingMs: number): string {
  return String(Math.max(0, Math.min(Math.floor(remainingMs), LONGEST_TIMEOUT_MS)))
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
 * "Requests"). `undefined`: no header. Zero means: expired already. Not cut: the longest,
 * 99,999,999 hours, is the caller's own wish to watch for ever.
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

/** Never more than is left. Below 100 ms in µs: whole ms would take a tenth of it away. */
export function formatGrpcTimeout(remainingMs: number): string {
  if (remainingMs < 100) return `${Math.max(0, Math.floor(remainingMs * 1_000))}u`
  if (remainingMs < 1e8) return `${Math.floor(remainingMs)}m`
  return `${Math.min(Math.floor(remainingMs / 1_000), 99_999_999)}S`
}
