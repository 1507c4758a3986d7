/**
 * The answer to a refused client of gRPC. Processes of a mesh read a GOAWAY and call elsewhere;
 * others get the status of each call.
 */
import { NOT_EXECUTED } from '../../core/headers.ts'
import { GRPC_STATUS } from '../../core/status.ts'
import { identityRefusal } from '../../net/identity-refusal.ts'
import { headerBlock, refuseConnection, refuseStreams } from '../http2/refusal.ts'
import type { RefusalAnswer } from '../lingering-close.ts'
import { isForeign, type Stranger } from '../stranger.ts'

export function refuseCalls(stranger: Stranger): RefusalAnswer {
  if (!isForeign(stranger)) return refuseConnection(stranger)
  const head = headerBlock([
    [':status', '200'],
    ['content-type', 'application/grpc'],
    ['grpc-status', String(GRPC_STATUS.UNAUTHENTICATED)],
    ['grpc-message', stranger.notice],
    [NOT_EXECUTED, identityRefusal(stranger.reason)],
  ])
  return refuseStreams(stranger, head)
}
