/**
 * The caller of one gRPC call: code of the user, called in the async context in which the call was
 * made. Sockets, timers and other calls lead to it in contexts of their own.
 */
import { AsyncResource } from 'node:async_hooks'
import type * as grpc from '@grpc/grpc-js'

export class GrpcCaller extends AsyncResource {
  listener!: grpc.InterceptingListener

  constructor() {
    super('inmesh.grpc')
  }

  headers(metadata: grpc.Metadata): void {
    runUserCode(this, receiveMetadata, this.listener, metadata)
  }

  /** `false`: it threw. */
  message(message: Buffer): boolean {
    return runUserCode(this, receiveMessage, this.listener, message)
  }

  status(status: grpc.StatusObject): void {
    runUserCode(this, receiveStatus, this.listener, status)
  }
}

/**
 * Runs `code` of the user in `context`. What it throws is an uncaught exception of the process, as
 * in grpc-js, and unwinds nothing of ours. `false`: it threw.
 */
export function runUserCode<A, B>(context: AsyncResource, code: (a: A, b: B) => void, a: A, b: B): boolean {
  return context.runInAsyncScope(guarded<A, B>, undefined, code, a, b)
}

function guarded<A, B>(code: (a: A, b: B) => void, a: A, b: B): boolean {
  try {
    code(a, b)
    return true
  } catch (error) {
    process.nextTick(raise, error)
    return false
  }
}

function raise(error: unknown): void {
  throw error
}

function receiveMetadata(listener: grpc.InterceptingListener, metadata: grpc.Metadata): void {
  listener.onReceiveMetadata(metadata)
}

function receiveMessage(listener: grpc.InterceptingListener, message: Buffer): void {
  listener.onReceiveMessage(message)
}

function receiveStatus(listener: grpc.InterceptingListener, status: grpc.StatusObject): void {
  listener.onReceiveStatus(status)
}
