/** Maps what a server says when it admits no connection to an outcome. Nothing was executed. */
import type { ErrorCode } from '../../core/errors.ts'
import { type Outcome, outcome } from '../../core/outcome.ts'
import { reasonOfRefusal, refusedByServer } from '../../net/identity-refusal.ts'

/** Full: another instance may have room. */
const BUSY: ReadonlySet<string> = new Set<ErrorCode>([
  'concurrency-limited',
  'rate-limited',
  'global-rate-limited',
  'overloaded',
])

/** `text`: of its greeting; `undefined`: it was none. */
export function refusedOutcome(text: string | undefined): Outcome {
  if (text === undefined) {
    return outcome('refused', 'protocol-error', new Error('what it said is no greeting of a TCP server of the mesh'))
  }
  const reason = reasonOfRefusal(text)
  if (reason !== undefined) return outcome('refused', 'identity-rejected', refusedByServer(reason))
  if (BUSY.has(text)) return outcome('refused', 'overloaded', new Error(`it takes no more connections now (${text})`))
  switch (text) {
    case 'permission-denied':
      return outcome('refused', text)
    case 'connect-failed':
      return outcome('refused', text, new Error('it could not connect to its target'))
    default:
      return outcome('refused', 'refused-by-peer')
  }
}
