/** The streams of HTTP/2 that carry calls, and what their ends say about the calls. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from 'node:http2'
import type * as grpc from '@grpc/grpc-js'
import { outcome as makeOutcome, type Outcome } from '../../core/outcome.ts'
import { GRPC_STATUS } from '../../core/status.ts'
import { reasonOfRefusal, refusedByServer } from '../../net/identity-refusal.ts'
import { CANCELLED_BY_PEER, LOST } from './internals.ts'
import { MessageBoundary } from './message-boundary.ts'
import { attach, type CarryingStream, ownerOf } from './stream.ts'

/** A peer's GOAWAY: the last stream that it may have executed, and why. */
interface Goaway {
  readonly lastStreamId: number
  readonly code: number
  /** Why the peer refuses our certificate, if it does. */
  readonly refusal: string | undefined
}

/** `data`: of a GOAWAY. */
export function refusalIn(data: Uint8Array | undefined): string | undefined {
  return data === undefined ? undefined : reasonOfRefusal(Buffer.from(data.subarray(0, 128)).toString('latin1'))
}

const goaways = new WeakMap<ClientHttp2Session, Goaway>()

class Http2Stream implements CarryingStream {
  readonly #session: ClientHttp2Session
  readonly #stream: ClientHttp2Stream
  readonly #boundary = new MessageBoundary()

  constructor(session: ClientHttp2Session, stream: ClientHttp2Stream) {
    this.#session = session
    this.#stream = stream
    stream.on('data', (chunk: Buffer) => this.#boundary.follow(chunk))
  }

  get isLeft(): boolean {
    return goaways.has(this.#session)
  }

  get endsWithin(): boolean {
    return this.#boundary.within
  }

  broken(status: grpc.StatusObject, begun: boolean): Outcome {
    const { details } = status
    const cause = new Error(details)
    const goaway = begun ? undefined : this.#leftBehindBy()
    if (goaway !== undefined) {
      status.code = GRPC_STATUS.UNAVAILABLE
      if (goaway.refusal !== undefined) {
        return makeOutcome('refused', 'identity-rejected', refusedByServer(goaway.refusal))
      }
      // A peer that sends ENHANCE_YOUR_CALM is alive and overloaded.
      const isAlive = goaway.code === constants.NGHTTP2_ENHANCE_YOUR_CALM
      return makeOutcome('refused', 'refused-by-peer', cause, isAlive ? status.code : undefined)
    }
    const { rstCode } = this.#stream
    const { closed, destroyed } = this.#session
    if (rstCode === constants.NGHTTP2_REFUSED_STREAM && !begun) {
      // A GOAWAY closes the session. On an open session, the peer had no room for the stream.
      return makeOutcome('refused', 'refused-by-peer', cause, closed ? undefined : status.code)
    }
    if (destroyed || LOST.test(details)) return makeOutcome('failure', 'connection-lost', cause)
    // grpc-js itself resets streams that it cannot process with CANCEL.
    if (rstCode !== constants.NGHTTP2_CANCEL || CANCELLED_BY_PEER.test(details)) {
      status.code = grpcStatusOfReset(rstCode)
    }
    return rstCode === constants.NGHTTP2_ENHANCE_YOUR_CALM
      ? makeOutcome('failure', 'overloaded', cause, status.code)
      : makeOutcome('failure', 'protocol-error', cause)
  }

  /**
   * The GOAWAY that left it behind: the peer certainly does not execute it, whatever the code
   * (RFC 9113, 6.8).
   */
  #leftBehindBy(): Goaway | undefined {
    const goaway = goaways.get(this.#session)
    const { id } = this.#stream
    return goaway !== undefined && id !== undefined && id > goaway.lastStreamId ? goaway : undefined
  }
}

/** PROTOCOL-HTTP2, "Errors". */
function grpcStatusOfReset(code: number | undefined): number {
  switch (code) {
    case constants.NGHTTP2_REFUSED_STREAM:
      return GRPC_STATUS.UNAVAILABLE
    case constants.NGHTTP2_CANCEL:
      return GRPC_STATUS.CANCELLED
    case constants.NGHTTP2_ENHANCE_YOUR_CALM:
      return GRPC_STATUS.RESOURCE_EXHAUSTED
    case constants.NGHTTP2_INADEQUATE_SECURITY:
      return GRPC_STATUS.PERMISSION_DENIED
    default:
      return GRPC_STATUS.INTERNAL
  }
}

/** Reports the streams of `session` to their owners. */
export function watchStreams(session: ClientHttp2Session): void {
  // A graceful one is followed by another, with a lower stream.
  session.on('goaway', (code, lastStreamId, data) => {
    goaways.set(session, { lastStreamId, code, refusal: refusalIn(data) })
  })
  const { request } = session
  session.request = (headers, options) => {
    const owner = ownerOf(headers)
    if (owner === undefined) return request.call(session, headers, options)
    let stream: ClientHttp2Stream
    try {
      stream = request.call(session, headers, options)
    } catch (error) {
      owner.leaving = false
      throw error
    }
    owner.stream = new Http2Stream(session, stream)
    attach(stream, owner)
    stream.close = resetOnly
    // Before grpc-js's listeners, which turn the same headers into a status.
    stream.on('response', heardHead)
    stream.on('trailers', heardTrailers)
    if (owner.bytesArrived !== undefined) stream.on('data', countBytes)
    return stream
  }
}

/**
 * As `close`. Node ends an open stream before it resets it, and the peer would take the requests
 * so far for all of them.
 */
function resetOnly(this: ClientHttp2Stream, code: number = constants.NGHTTP2_NO_ERROR, closed?: () => void): void {
  if (code !== constants.NGHTTP2_NO_ERROR && !this.writableEnded) this._final = notEnding
  const { close } = Object.getPrototypeOf(this) as ClientHttp2Stream
  close.call(this, code, closed)
}

/** Says nothing to the peer. */
function notEnding(done: () => void): void {
  done()
}

function heardHead(
  this: ClientHttp2Stream,
  headers: IncomingHttpHeaders & IncomingHttpStatusHeader,
  flags: number,
): void {
  const owner = ownerOf(this)!
  owner.httpStatus = headers[':status'] ?? 0
  if ((flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0) owner.trailers = headers
}

function heardTrailers(this: ClientHttp2Stream, headers: IncomingHttpHeaders): void {
  const owner = ownerOf(this)!
  owner.trailers = headers
}

function countBytes(this: ClientHttp2Stream, chunk: Buffer): void {
  const owner = ownerOf(this)!
  owner.bytesArrived!(chunk.length)
}
