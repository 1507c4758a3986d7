/**
 * The HTTP/2 side of an attempt, which grpc-js does not pass on: whether its stream began, and how
 * it ended. Only this tells the peer's status from one that grpc-js made up.
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from 'node:http2'
import { reasonOfRefusal } from '../../net/identity-refusal.ts'

/** The HTTP/2 half of one attempt. */
export interface StreamOwner {
  /** HTTP/2 has the request, so it may have been sent. */
  leaving: boolean
  /** The last stream that began for it; `undefined` also if the session cannot be watched. */
  stream: ClientHttp2Stream | undefined
  session: ClientHttp2Session | undefined
  /** 0 before the response head. */
  httpStatus: number
  /** Trailers, or the head of a trailers-only answer. */
  trailers: IncomingHttpHeaders | undefined
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

/** A peer's GOAWAY: the last stream that it may have executed, and why. */
export interface Goaway {
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

/**
 * The GOAWAY that left `stream` behind: the peer certainly does not execute it, whatever the code
 * (RFC 9113, 6.8).
 */
export function leftBehindBy(session: ClientHttp2Session, stream: ClientHttp2Stream): Goaway | undefined {
  const goaway = goaways.get(session)
  return goaway !== undefined && stream.id !== undefined && stream.id > goaway.lastStreamId ? goaway : undefined
}

/** Whether the peer has said GOAWAY on `session`. */
export function isLeft(session: ClientHttp2Session): boolean {
  return goaways.has(session)
}

/** Reports the streams of `session` to their owners. */
export function watchStreams(session: ClientHttp2Session): void {
  // A graceful one is followed by another, with a lower stream.
  session.on('goaway', (code, lastStreamId, data) => {
    goaways.set(session, { lastStreamId, code, refusal: refusalIn(data) })
  })
  const { request } = session
  session.request = (headers, options) => {
    const owner = (headers as Owned | undefined)?.[OWNER]
    if (owner === undefined) return request.call(session, headers, options)
    let stream: ClientHttp2Stream
    try {
      stream = request.call(session, headers, options)
    } catch (error) {
      owner.leaving = false
      throw error
    }
    owner.stream = stream
    owner.session = session
    ;(stream as ClientHttp2Stream & Owned)[OWNER] = owner
    // Before grpc-js's listeners, which turn the same headers into a status.
    stream.on('response', heardHead)
    stream.on('trailers', heardTrailers)
    return stream
  }
}

function heardHead(
  this: ClientHttp2Stream,
  headers: IncomingHttpHeaders & IncomingHttpStatusHeader,
  flags: number,
): void {
  const owner = (this as Owned)[OWNER]!
  owner.httpStatus = headers[':status'] ?? 0
  if ((flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0) owner.trailers = headers
}

function heardTrailers(this: ClientHttp2Stream, headers: IncomingHttpHeaders): void {
  const owner = (this as Owned)[OWNER]!
  owner.trailers = headers
}
