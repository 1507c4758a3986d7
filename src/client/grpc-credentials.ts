/**
 * Call credentials: what a caller's generator adds to the metadata of each attempt. We ask before
 * there is a stream, so that a failure is certainly not sent and a cancelled call never begins.
 */
import type * as grpc from '@grpc/grpc-js'
import { GRPC_STATUS } from '../core/status.ts'

/** Statuses that only a server may give (gRFC A54). */
const OF_SERVERS: ReadonlySet<number> = new Set([
  GRPC_STATUS.OK,
  GRPC_STATUS.INVALID_ARGUMENT,
  GRPC_STATUS.NOT_FOUND,
  GRPC_STATUS.ALREADY_EXISTS,
  GRPC_STATUS.FAILED_PRECONDITION,
  GRPC_STATUS.ABORTED,
  GRPC_STATUS.OUT_OF_RANGE,
  GRPC_STATUS.DATA_LOSS,
])

/** Asks `credentials` for the metadata of a call of `path`. Never throws. */
export async function askCredentials(
  credentials: grpc.CallCredentials,
  path: string,
  authority: string,
): Promise<grpc.Metadata> {
  const host = authority.replace(/:\d+$/, '')
  const service = path.slice(1, path.lastIndexOf('/'))
  return credentials.generateMetadata({ method_name: path, service_url: `https://${host}/${service}` })
}

/** The status of a call whose credentials failed with `error`. */
export function credentialsFailure(error: unknown): { readonly code: number; readonly details: string } {
  const { code: given, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  const code = typeof given === 'number' ? given : GRPC_STATUS.UNKNOWN
  const details = `Getting metadata from plugin failed with error: ${String(message ?? error)}`
  if (Number.isInteger(code) && code > 0 && code <= GRPC_STATUS.UNAUTHENTICATED && !OF_SERVERS.has(code)) {
    return { code, details }
  }
  return { code: GRPC_STATUS.INTERNAL, details: `Invalid status from control plane: ${code} ${details}` }
}
