/** Maps how a mux stream was reset to an outcome. */
import type * as grpc from '@grpc/grpc-js'
import { outcome as makeOutcome, type Outcome } from '../../core/outcome.ts'
import { GRPC_STATUS } from '../../core/status.ts'
import type { MuxReset } from '../../mux/stream.ts'
import { RESET } from '../../mux/wire.ts'
import { reasonOfRefusal, refusedByServer } from '../../net/identity-refusal.ts'

/**
 * `begun`: the answer had begun. `left`: the peer has said GOAWAY. Corrects the code of `status`,
 * which was made up.
 */
export function outcomeOfReset(reset: MuxReset, status: grpc.StatusObject, begun: boolean, left: boolean): Outcome {
  const { code, executed } = reset
  const cause = reset.cause ?? new Error(status.details)
  if (!executed && !begun) {
    status.code = GRPC_STATUS.UNAVAILABLE
    const refusal = left ? reasonOfRefusal(reset.reason) : undefined
    if (refusal !== undefined) return makeOutcome('refused', 'identity-rejected', refusedByServer(refusal))
    // On a connection that stays, the peer had no room for the stream: it is alive.
    return makeOutcome('refused', 'refused-by-peer', cause, left ? undefined : status.code)
  }
  if (code === undefined) return makeOutcome('failure', 'connection-lost', cause)
  status.code = grpcStatusOf(code)
  return makeOutcome('failure', 'protocol-error', cause)
}

/** As those of HTTP/2 (PROTOCOL-HTTP2, "Errors"). */
function grpcStatusOf(code: number): number {
  switch (code) {
    case RESET.CANCELLED:
      return GRPC_STATUS.CANCELLED
    case RESET.NOT_EXECUTED:
      return GRPC_STATUS.UNAVAILABLE
    case RESET.HEAD_TOO_LARGE:
      return GRPC_STATUS.RESOURCE_EXHAUSTED
    default:
      return GRPC_STATUS.INTERNAL
  }
}
