/**
 * The caller of one gRPC call: user code that runs in the async context in which it made the call.
 * Sockets, timers and other calls reach it from other contexts.
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
 * Runs user code in `context`; returns `false` if it threw. As in grpc-js, what it throws is an
 * uncaught exception of the process; it unwinds none of our frames.
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
