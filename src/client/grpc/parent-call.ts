/** The call of a grpc-js server that a client's call names as its parent. */
import type * as grpc from '@grpc/grpc-js'

type ParentCall = grpc.ServerUnaryCall<unknown, unknown>

/** Calls `listener` when `parent` is cancelled, or at once. Returns how to stop. */
export function onCancelled(parent: ParentCall, listener: () => void): (() => void) | undefined {
  if (parent.cancelled) {
    listener()
    return undefined
  }
  parent.once('cancelled', listener)
  return () => void parent.removeListener('cancelled', listener)
}
