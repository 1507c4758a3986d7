/** The contract between attempts or probes and the gRPC connection that carries their calls. */
import type { ErrorCode } from '../../core/errors.ts'
import type { GrpcConnection } from './connection.ts'

/** Waits for a connection, then begins one call on it. */
export interface GrpcConnectionUser {
  /** Goes before the others that wait, and takes no place of theirs. */
  readonly ahead?: boolean
  /** It calls {@link GrpcConnection.release} when its call has ended. */
  assigned(connection: GrpcConnection): void
  /** It gets none. Nothing was sent. */
  refused(code: ErrorCode, cause: unknown): void
}
