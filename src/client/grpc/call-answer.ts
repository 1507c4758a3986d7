/** What a gRPC call gives its caller. */
import type * as grpc from '@grpc/grpc-js'
import type { MeshError } from '../../core/errors.ts'

/** The part of an answer that the caller does not have yet. */
export interface Answer {
  readonly headers?: grpc.Metadata | undefined
  readonly message?: Buffer | undefined
  readonly status: grpc.StatusObject
}

/** grpc-js copies all fields of a status to the caller's error, so this becomes its `cause`. */
export function withCause(status: grpc.StatusObject, cause: MeshError): grpc.StatusObject {
  return Object.assign(status, { cause })
}
