/**
 * The HTTP/2 session beneath a channel of grpc-js: its streams, its limit, its GOAWAY and its end.
 * grpc-js may replace the session, so each stream that begins checks for a new one.
 */
import type { ClientHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type * as grpc from '@grpc/grpc-js'
import type { Clock, Timer } from '../../core/clock.ts'
import type { ErrorCode } from '../../core/errors.ts'
import { refusalIn, watchStreams } from './http2-stream.ts'
import { type Http2Transport, type Subchannel, stopPings, subchannelsOf } from './internals.ts'
import { StreamLimit } from './stream-limit.ts'

/** Longest wait for the peer to close its half: a few round trips. */
const LAST_HALF_MS = 1_000

/** The connection of a session. */
export interface SessionOwner {
  /** There may be room for one more stream. */
  roomFreed(): void
  /** The session takes no more calls, or has closed. */
  sessionLost(code: ErrorCode, reason: string): void
  /** The peer rejected our certificate. */
  certificateRejected(reason: string): void
}

export class GrpcSession {
  readonly streams: StreamLimit
  readonly #channel: grpc.Channel
  readonly #clock: Clock
  readonly #owner: SessionOwner
  #session: ClientHttp2Session | undefined
  /** The session hides its own. */
  #socket: Socket | undefined
  #subchannel: Subchannel | undefined
  #lastHalf: Timer | undefined

  constructor(channel: grpc.Channel, clock: Clock, owner: SessionOwner) {
    this.#channel = channel
    this.#clock = clock
    this.#owner = owner
    this.streams = new StreamLimit(() => owner.roomFreed())
  }

  /** `undefined` before it is established, or if this version of grpc-js hides its sessions. */
  get socket(): Socket | undefined {
    return this.#socket
  }

  get remoteAddress(): string | undefined {
    return this.#session?.socket?.remoteAddress
  }

  /** Watches the current session and its streams. Cheap if it is watched already. */
  attend(): void {
    if (this.#session !== undefined && this.#subchannel?.transport?.session === this.#session) return
    for (const subchannel of subchannelsOf(this.#channel)) {
      const transport = subchannel?.transport
      if (transport?.session === undefined || transport.session === this.#session) continue
      this.#subchannel = subchannel
      this.#session = transport.session
      this.#watch(transport, transport.session)
    }
  }

  /** Ends the session. What was written leaves first. */
  close(): void {
    // A stream that was cut while no one read it would keep the session open for ever.
    if (this.#session !== undefined) setImmediate(destroy, this)
  }

  /** Ends the connection at once. Its streams fail with `cause`. */
  cut(cause: Error): void {
    this.#socket?.destroy(cause)
  }

  /** @internal */
  destroy(): void {
    this.#session!.destroy()
    // After a GOAWAY, Node ends our half only; a peer that keeps its half would hold the socket for
    // ever.
    const socket = this.#socket!
    if (socket.destroyed) return
    this.#lastHalf = this.#clock.startBackgroundTimer(LAST_HALF_MS, destroySocket, socket)
  }

  #watch(transport: Http2Transport, session: ClientHttp2Session): void {
    watchStreams(session)
    // `once` returns the socket itself, which can be destroyed, unlike the session's proxy for it.
    this.#socket = session.socket.once('close', () => {
      if (this.#lastHalf !== undefined) this.#clock.stopTimer(this.#lastHalf)
    })
    this.streams.watch(session)
    session.once('goaway', (_code, _lastStreamId, data) => {
      // Streams that had begun may still end on it. Node sends no PING on a closing session;
      // grpc-js would take the silence for a dead peer and cut them. The peer bounds their time.
      stopPings(transport)
      const refusal = refusalIn(data)
      if (refusal === undefined) {
        this.#owner.sessionLost('refused-by-peer', 'the peer takes no more calls on this connection (GOAWAY)')
        return
      }
      this.#owner.certificateRejected(refusal)
      this.#owner.sessionLost('identity-rejected', `it refused our certificate (${refusal})`)
    })
    session.once('close', () => this.#owner.sessionLost('connect-failed', 'the connection was lost'))
  }
}

function destroy(session: GrpcSession): void {
  session.destroy()
}

function destroySocket(socket: Socket): void {
  socket.destroy()
}
