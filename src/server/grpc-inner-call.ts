/** An inbound gRPC call as grpc-js's interceptor around its own: what is only handed on to the inner call. */
import type * as grpc from '@grpc/grpc-js'
import { InboundCall } from './inbound-call.ts'

export type Inner = Parameters<grpc.ServerInterceptor>[1]

export abstract class InterceptedCall extends InboundCall {
  protected inner: Inner | undefined = undefined

  startRead(): void {
    this.inner!.startRead()
  }

  getPeer(): string {
    return this.inner!.getPeer()
  }

  /** grpc-js has not been told of it, so that only one of us watches it. */
  getDeadline(): Date | number {
    if (this.deadlineAt === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY
    return this.clock.wallNow() + this.deadlineAt - this.clock.now()
  }

  getHost(): string {
    return this.inner!.getHost()
  }

  getAuthContext(): ReturnType<Inner['getAuthContext']> {
    return this.inner!.getAuthContext()
  }

  getConnectionInfo(): ReturnType<Inner['getConnectionInfo']> {
    return this.inner!.getConnectionInfo()
  }

  getMetricsRecorder(): ReturnType<Inner['getMetricsRecorder']> {
    return this.inner!.getMetricsRecorder()
  }
}
