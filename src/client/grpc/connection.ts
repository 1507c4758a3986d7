/**
 * One connection to a gRPC endpoint, of either kind: HTTP/2 below a channel of grpc-js, or the mux.
 * It is handed out once established and never redials: the pool replaces a lost one.
 *
 * dialing -> ready: established · dialing -> failed: refused or too slow
 * ready -> retired: replaced (rotation, silence, drain), or lost (GOAWAY, closed)
 */
import type { AsyncResource } from 'node:async_hooks'
import type * as grpc from '@grpc/grpc-js'
import type { Attempt } from '../../core/attempt.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { ErrorCode } from '../../core/errors.ts'
import type { TransportName } from '../../core/transport.ts'
import type { ConnectSpan } from '../connect-span.ts'
import type { DialSetup } from '../dial.ts'
import type { ShownCertificate } from '../peer-end.ts'
import type { CarriedCall, Grpc } from './grpc-js.ts'
import type { OwnMetadata } from './internals.ts'
import type { StreamOwner } from './stream.ts'
import type { GrpcTransportSettings } from './transport-options.ts'

/** What all gRPC connections of a mesh share. */
export interface GrpcConnectionSetup extends DialSetup {
  readonly grpc: Grpc
  readonly settings: GrpcTransportSettings
  readonly insecure: grpc.ChannelCredentials
  readonly channelOptions: grpc.ChannelOptions
  /** See `ownMetadata`. */
  readonly OwnMetadata: new () => OwnMetadata
  /** The async context of connections, which outlive the call that opened them. */
  readonly context: AsyncResource
  /** As grpc-js sends it. */
  readonly userAgent: string
  /** The largest message in bytes that a connection to `service` accepts. */
  largestMessage(service: string): number
}

/** Owns a connection and is notified of its transitions. */
export interface GrpcConnectionOwner {
  readonly endpoint: Endpoint
  /** How many wait for room on it. */
  readonly waiting: number
  /** It takes one more stream than before. */
  freed(connection: GrpcConnection): void
  /** It is established, or has failed: then calls on it report the reason. */
  dialed(connection: GrpcConnection, ready: boolean): void
  /** It was not established: too slow, refused, or its address is not allowed. */
  failed(connection: GrpcConnection, code: ErrorCode, cause: Error): void
  /** It takes no more calls, or is gone. Calls that waited for a stream on it were not sent. */
  lost(connection: GrpcConnection, code: ErrorCode, reason: string): void
  closed(connection: GrpcConnection): void
}

/** What a call sends first. */
export interface CallHead {
  readonly path: string
  /** `undefined`: the called service's name. */
  readonly authority: string | undefined
  /** The caller's own; not changed. */
  readonly metadata: grpc.Metadata
  /** Whose context travels with it; `undefined` for a probe. */
  readonly attempt: Attempt | undefined
  /** The deadline for the callee; `Infinity` sends none. */
  readonly deadlineAt: number
  readonly now: number
}

/** The user of one call on a connection. */
export interface CallOwner extends StreamOwner, grpc.InterceptingListener {
  readonly ended: boolean
}

export interface GrpcConnection {
  /** `undefined` until it is established. */
  readonly transport: TransportName | undefined
  readonly connecting: ConnectSpan
  /** Instant from which it takes no calls; `Infinity` until it must be replaced. */
  retireAt: number
  /** End of the peer's certificate, wall clock. */
  endsAt: number
  readonly peer: ShownCertificate | undefined
  /** Largest received message in bytes. */
  readonly largestMessage: number
  /** Instant of the last message from the peer. */
  readonly heardAt: number
  /** Consecutive attempts that timed out without any answer on the connection. */
  silences: number
  readonly ready: boolean
  /** Whether the peer accepts another stream. */
  readonly hasRoom: boolean
  /** It was established, and is no longer. */
  readonly lost: boolean
  /** Connects. The owner hears of success or failure within the connect timeout. */
  dial(): void
  /** A call waits for room. */
  wantRoom(): void
  /** A call will begin on it. */
  take(): void
  /** Begins a call, after {@link take}. It throws if none can begin. */
  begin(head: CallHead, owner: CallOwner): CarriedCall
  /** A call on it has ended. `reset`: by us, before the peer had answered. */
  release(reset: boolean): void
  /** Something came from the peer. */
  heard(now: number): void
  /** Why a call on it was not sent. `details`: those of its status. */
  failure(details: string): { readonly code: ErrorCode; readonly cause: Error }
  /** Takes no more calls; ends with the last that runs. */
  retire(): void
  /** Once a second. */
  sweep(now: number): void
  close(): void
  /** Closes it at once. Calls in flight fail with a lost connection. */
  cut(cause: Error): void
}
