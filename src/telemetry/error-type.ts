/** `error.type` of the conventions, the same on spans, in metrics and in the access log. */
import type { Call } from '../core/call.ts'
import type { Outcome } from '../core/outcome.ts'
import { grpcStatusName } from '../core/status.ts'

const FIRST_HTTP_ERROR = 400

/**
 * Of a call that did not succeed: the status that says so, else the code of its error. An answer
 * that began well and broke off has a good status, and was no success.
 */
export function errorType({ kind }: Call, { code, verdict }: Outcome, status: number | undefined): string {
  const isError =
    status !== undefined && verdict !== 'cancelled' && status >= (kind.protocol === 'http' ? FIRST_HTTP_ERROR : 1)
  if (!isError) return code ?? verdict
  return kind.protocol === 'grpc' ? grpcStatusName(status) : String(status)
}
