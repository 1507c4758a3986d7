/**
 * What is below the messages of an attempt, which grpc-js does not pass on: whether its stream
 * began, and how it ended. Only this tells the peer's status from one that grpc-js made up.
 */
import type { IncomingHttpHeaders } from 'node:http2'
import type * as grpc from '@grpc/grpc-js'
import type { LoadReport } from '../../core/load-report.ts'
import type { Outcome } from '../../core/outcome.ts'

/** A stream that carries a call. */
export interface CarryingStream {
  /** The peer takes no more streams on its connection (GOAWAY). */
  readonly isLeft: boolean
  /** The answer ended within a message. */
  readonly endsWithin: boolean
  /** Why no connection takes the request. */
  readonly invalid?: Error | undefined
  /**
   * The outcome of a stream that ended without a gRPC status. `status`: what was made up for it,
   * and is corrected. `begun`: the answer had begun.
   */
  broken(status: grpc.StatusObject, begun: boolean): Outcome
}

/** What is below the messages of one call. */
export interface StreamOwner {
  /** The transport has the request, so it may have been sent. */
  leaving: boolean
  /** The last stream that began for it; `undefined` also if the session cannot be watched. */
  stream: CarryingStream | undefined
  /** 0 before the response head. */
  httpStatus: number
  /** Trailers, or the head of a trailers-only answer. */
  trailers: IncomingHttpHeaders | undefined
  /** What the server reported in binary form. */
  report?: LoadReport | undefined
  /** For an owner that counts them: bytes of the answer have arrived. */
  bytesArrived?(bytes: number): void
}

const OWNER = Symbol('inmesh.attempt')

interface Owned {
  [OWNER]?: StreamOwner
}

/** Marks `owner` as the owner of the stream that begins with `headers`. */
export function mark(headers: object, owner: StreamOwner): void {
  owner.leaving = true
  const owned: Owned = headers
  owned[OWNER] = owner
}

/** The owner of a stream, or of the headers with which it begins. */
export function ownerOf(carrier: object | undefined): StreamOwner | undefined {
  return (carrier as Owned | undefined)?.[OWNER]
}

/** From now on `stream` is that of `owner`. */
export function attach(stream: object, owner: StreamOwner): void {
  const owned: Owned = stream
  owned[OWNER] = owner
}
