/** Deadlines on the wire: what is left, as whole ms, so that no two clocks are ever compared. */

/** No caller waits longer than this for one call; longer wishes are cut (faults-and-attacks A34). */
export const LONGEST_TIMEOUT_MS = 300_000

/**
 * Reads a remaining time. `undefined`: no header. `'malformed'`: anything but 1 to 9 digits. Zero means: expired already.
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
