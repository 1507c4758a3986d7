/**
 * Classifies an outcome for breakers and ejection: good, bad, or no evidence about the peer.
 * Refusals on our side, cancellations and mistakes of the caller are no evidence.
 */
import type { ErrorCode } from '../core/errors.ts'
import type { Outcome } from '../core/outcome.ts'

/**
 * - `none`: teaches nothing (refused here, cancelled).
 * - `good`: the peer answered and did its work, even if the caller is not happy with it.
 * - `soft`: the peer said that it has too much to do, or that it is leaving; it lowers a share, but
 *   is no sign of death.
 * - `hard`: the peer or the way to it failed.
 */
export type Classification = 'none' | 'good' | 'soft' | 'hard'

/** Decided in our own process, or the request's own property. */
const NOBODY: ReadonlySet<ErrorCode> = new Set([
  'no-endpoints',
  'circuit-open',
  'concurrency-limited',
  'rate-limited',
  'global-rate-limited',
  'throttled',
  'queue-full',
  'cancelled',
  'closed',
  'not-in-mesh',
  'invalid-options',
])
/** The peer is well: it denied us, or answered more than we take. */
const WELL: ReadonlySet<ErrorCode> = new Set(['permission-denied', 'response-too-large'])
const BUSY: ReadonlySet<ErrorCode> = new Set(['overloaded', 'refused-by-peer'])

export function classify(outcome: Outcome): Classification {
  if (outcome.verdict === 'success') return 'good'
  if (outcome.verdict === 'cancelled') return 'none'
  const code = outcome.code
  if (code === undefined) return 'hard'
  // It waited for its turn on our own connections; those who have them say how the peer is.
  if (outcome.verdict === 'refused' && code === 'attempt-timeout') return 'none'
  if (NOBODY.has(code)) return 'none'
  if (WELL.has(code)) return 'good'
  return BUSY.has(code) ? 'soft' : 'hard'
}
