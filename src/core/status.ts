/** From what a peer answered to an outcome: the only such table. The gRPC half belongs here too. */
import { type Outcome, outcome, SUCCESS } from './outcome.ts'

/** A peer's wish beyond this is not believed (linkerd2-proxy's cap). */
const LONGEST_RETRY_AFTER_MS = 300_000

/** `retry-after` in seconds or as an HTTP date (RFC 9110, 10.2.3), in ms; `undefined` if absent or unreadable. */
export function parseRetryAfter(header: string | undefined, wallNow: number): number | undefined {
  if (header === undefined) return undefined
  if (/^\d{1,9}$/.test(header)) return Math.min(Number(header) * 1000, LONGEST_RETRY_AFTER_MS)
  const at = Date.parse(header)
  return Number.isNaN(at) ? undefined : Math.min(Math.max(0, at - wallNow), LONGEST_RETRY_AFTER_MS)
}

/**
 * `notExecuted`: the peer marked its answer so (`inmesh-not-executed`), which makes it safe to try elsewhere.
 * 4xx is the caller's own mistake and says nothing bad of the peer, except 429, which says it is overloaded.
 */
export function httpOutcome(status: number, notExecuted: boolean, retryAfterMs: number | undefined): Outcome {
  if (status < 500 && status !== 429 && !notExecuted) return SUCCESS
  if (notExecuted) {
    // Denied by an intention: every other instance would deny it, too.
    const refusal = status === 403 ? 'permission-denied' : 'refused-by-peer'
    return outcome('refused', refusal, undefined, status, retryAfterMs)
  }
  const code = status === 429 || status === 503 ? 'overloaded' : 'server-error'
  return outcome('failure', code, undefined, status, retryAfterMs)
}
