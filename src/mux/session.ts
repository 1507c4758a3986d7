/**
 * One `inmesh/1` connection, at either end: its streams, both windows, its keepalive and its end.
 * Everything that is written in one turn of the event loop leaves in one write.
 *
 * - opening → serving: the peer's SETTINGS have arrived
 * - serving → leaving: either side has sent GOAWAY; streams in flight finish
 * - any → closed: the socket has closed
 */

import type { Socket } from 'node:net'
import type { Clock } from '../core/clock.ts'
import { isError } from '../core/errors.ts'
import { FloodGuard } from './flood-guard.ts'
import { Inbound } from './inbound.ts'
import type { InboundHost } from './inbound-host.ts'
import { Keepalive } from './keepalive.ts'
import { LINGER_MS } from './limits.ts'
import { ReceiveWindow } from './receive-window.ts'
import { type SendOwner, SendQueue } from './send-queue.ts'
import type { SessionEvents } from './session-events.ts'
import { encodeSettings, type MuxSettings, type PeerSettings } from './settings.ts'
import { SocketEnd } from './socket-end.ts'
import { asBytes, type MuxReset, MuxStream, type StreamEvents, type StreamHost, UNOWNED } from './stream.ts'
import { StreamTable } from './stream-table.ts'
import {
  GOAWAY,
  type GoAwayCode,
  LAST_STREAM,
  MAX_PAYLOAD_BYTES,
  MAX_REASON_BYTES,
  RESET,
  type ResetCode,
} from './wire.ts'

export type { SessionEvents } from './session-events.ts'

export class MuxSession implements StreamHost, InboundHost, SendOwner {
  readonly socket: Socket
  readonly side: 'client' | 'server'
  /** Either side has sent GOAWAY, or the stream numbers are used up. */
  leaving = false
  settled = false
  /** @internal */
  readonly events: SessionEvents
  /** @internal */
  readonly guard: FloodGuard
  /** @internal */
  readonly window: ReceiveWindow
  /** @internal */
  readonly send: SendQueue
  /** @internal */
  readonly streams = new StreamTable(() => this.#streamClosed())
  readonly #settings: MuxSettings
  readonly #clock: Clock
  readonly #inbound: Inbound
  readonly #keepalive: Keepalive
  #peer: PeerSettings = { maxStreams: 0, streamWindow: 0, connectionWindow: 0, takesLoad: false }
  #ending = false
  #failure: Error | undefined = undefined
  #broken = false
  #over = false
  readonly #socketEnd: SocketEnd

  constructor(socket: Socket, side: 'client' | 'server', settings: MuxSettings, clock: Clock, events: SessionEvents) {
    const now = clock.now()
    this.socket = socket
    this.side = side
    this.events = events
    this.#settings = settings
    this.#clock = clock
    this.#inbound = new Inbound(this, settings, now)
    this.send = new SendQueue(socket, this)
    this.#keepalive = new Keepalive(settings, now)
    this.guard = new FloodGuard(now, () => 2 * this.send.creditable)
    this.#socketEnd = new SocketEnd(socket, clock)
    this.window = new ReceiveWindow(settings.connectionWindow)
    socket.on('error', (error) => {
      this.#failure ??= error
    })
    // A half-closed peer can neither credit nor answer; a client's may still read its answers.
    socket.on('end', () => (side === 'client' ? socket.destroy() : socket.destroySoon()))
    socket.on('close', () => this.#closed())
    this.send.start(side === 'client', encodeSettings(settings))
  }

  /** Streams that are open. */
  get open(): number {
    return this.streams.open.size
  }

  /** Streams that may be opened now. */
  get room(): number {
    if (this.leaving || !this.settled || this.#over || this.#ending) return 0
    return Math.max(0, this.#peer.maxStreams - this.streams.open.size)
  }

  /** Bytes that wait for the network. */
  get backlog(): number {
    return this.send.outstanding
  }

  /** When the last complete frame arrived. */
  get heardAt(): number {
    return this.#inbound.heardAt
  }

  /** Round trip of the last PING in ms; 0 without one. */
  get roundTripMs(): number {
    return this.#keepalive.roundTripMs
  }

  /** Nothing of `bytes` is kept without a copy. */
  receive(bytes: Buffer): void {
    if (this.#over || this.#broken) return
    const now = this.#clock.now()
    this.#inbound.now = now
    this.guard.turn(now)
    // A full record, or what answers one of several calls, is seldom the last.
    this.send.expectsMore = this.open > 1 || bytes.length >= MAX_PAYLOAD_BYTES
    try {
      this.#inbound.receive(bytes)
    } catch (error) {
      this.failed(error)
    }
  }

  /**
   * A client's new stream. `body`: what is known of it; `end`: that is all. On a connection that
   * has ended, or takes no more streams, the stream is reset in the next turn.
   *
   * @throws HeadTooLarge, InvalidHead before anything was sent
   */
  request(
    method: string,
    path: string,
    headers: readonly string[],
    body: Uint8Array | string | undefined,
    end: boolean,
    events: StreamEvents,
  ): MuxStream {
    const id = this.streams.lastStream + 1
    const stream = new MuxStream(this, id, events, this.#peer.streamWindow, this.#settings.streamWindow)
    if (this.#over || this.#broken || this.leaving) {
      process.nextTick(() => this.streams.lose(stream, this.#over || this.#broken ? this.#lossOf(stream) : LEFT))
      return stream
    }
    stream.head = stream.bodiless = method === 'HEAD'
    const bytes = asBytes(body)
    const beside = this.send.fits(stream, headers, path, bytes)
    this.send.request(stream, method, path, headers, beside ? bytes : undefined, end && beside)
    if (id === LAST_STREAM) this.leaving = true
    this.streams.add(stream)
    if (!beside) queue(stream, bytes!, end)
    else if (end) stream.localEnded = stream.ending = true
    return stream
  }

  /** Takes no more streams, and tells the peer which is the last that is served. */
  goAway(code: GoAwayCode, reason = ''): void {
    if (this.#over) return
    this.leaving = true
    this.streams.leave()
    this.send.goAway(this.side === 'server' ? this.streams.servesUntil : 0, code, reason.slice(0, MAX_REASON_BYTES))
  }

  /** Asks for a sign of life. */
  ping(): void {
    if (this.#over) return
    const payload = this.#keepalive.ping(this.#clock.now())
    if (payload !== undefined) this.send.ping(payload, false)
  }

  /** Housekeeping, about once a second. */
  tick(now: number): void {
    if (this.#over || this.#broken) return
    this.guard.turn(now)
    const { settled, heardAt } = this
    const { outstanding, taken, paused } = this.send
    const within = this.#inbound.reader.within
    const verdict = this.#keepalive.tick(now, { settled, heardAt, within, backlog: outstanding, taken, paused })
    if (verdict === 'ping') this.ping()
    else if (verdict !== undefined) this.destroy(new Error(verdict))
  }

  /** Closes after what is queued has left and all streams have closed. */
  end(): void {
    this.#ending = true
    if (this.streams.open.size === 0) this.#finish()
  }

  /** Closes at once. */
  destroy(cause?: Error): void {
    if (cause !== undefined) this.#failure ??= cause
    this.socket.destroy()
  }

  // For streams.

  /** @internal How much is read before it is credited. */
  get creditStep(): number {
    return this.#settings.streamWindow >> 1
  }

  /** @internal */
  respond(
    stream: MuxStream,
    status: number,
    reason: string,
    headers: readonly string[],
    body: Uint8Array | undefined,
    end: boolean,
  ): void {
    const final = status >= 200
    const beside = final && this.send.fits(stream, headers, '', body)
    this.send.response(stream, status, reason, headers, beside ? body : undefined, end && beside)
    if (!final) return
    stream.answered = true
    if (!beside) queue(stream, body!, end)
    else if (end) {
      stream.localEnded = stream.ending = true
      this.closeIfEnded(stream)
    }
  }

  /** @internal Its turn to send comes. */
  ready(stream: MuxStream): void {
    this.send.ready(stream)
  }

  /** @internal The last frame of our half is written. */
  sentEnd(stream: MuxStream): void {
    stream.localEnded = true
    stream.events.endSent?.(stream)
    this.closeIfEnded(stream)
  }

  /** @internal */
  credit(charge: number): void {
    const credit = this.window.read(charge)
    if (credit > 0 && !this.#over) this.send.window(0, credit)
  }

  /** @internal */
  creditStream(stream: MuxStream, bytes: number): void {
    if (!this.#over) this.send.window(stream.id, bytes)
  }

  /** @internal */
  reset(stream: MuxStream, code: ResetCode, reason: string): void {
    if (stream.closed) return
    this.resetUnowned(stream.id, code, reason)
    this.streams.close(stream)
  }

  // For what arrives.

  /** @internal */
  opened(id: number): MuxStream {
    const stream = new MuxStream(this, id, UNOWNED, this.#peer.streamWindow, this.#settings.streamWindow)
    stream.serves = true
    this.streams.add(stream)
    return stream
  }

  /** @internal */
  closeIfEnded(stream: MuxStream): void {
    if (!stream.localEnded || !stream.remoteEnded || stream.closed) return
    this.guard.served()
    this.streams.close(stream)
  }

  /** @internal */
  resetUnowned(id: number, code: ResetCode, reason: string): void {
    if (!this.#over) this.send.reset(id, code, reason.slice(0, MAX_REASON_BYTES))
  }

  /** @internal */
  pingAnswered(bytes: Buffer, from: number): void {
    if (this.#keepalive.answered(bytes, from, this.#inbound.now)) this.events.pingAnswered?.()
  }

  /** @internal */
  peerSettled(settings: PeerSettings): void {
    this.#peer = settings
    this.settled = true
    this.send.granted(settings.connectionWindow)
    this.send.reportsLoad = settings.takesLoad
    this.events.settled()
  }

  /** @internal */
  peerLeaves(lastStream: number, code: number, reason: string): void {
    this.leaving = true
    if (this.side === 'client') {
      this.streams.loseAfter(lastStream, ({ answered }) => {
        const lost = answered ? RESET.PROTOCOL_ERROR : RESET.NOT_EXECUTED
        return { code: lost, reason, executed: answered }
      })
    }
    this.events.goingAway(lastStream, code, reason)
    // One that refuses our certificate still answers what runs.
    if (code !== GOAWAY.NO_ERROR && code !== GOAWAY.IDENTITY_REFUSED) {
      this.destroy(new Error(`the peer ended the connection (GOAWAY ${code}): ${reason}`))
    } else if (this.side === 'client') this.end()
  }

  /** @internal Says why, then closes. */
  breakOff(code: GoAwayCode, reason: string): void {
    if (this.#over || this.#broken) return
    this.#failure ??= new Error(`the peer sent ${reason}`)
    this.goAway(code, reason)
    this.send.flush()
    this.#broken = true
    this.#inbound.reader.stop()
    this.#socketEnd.begin(LINGER_MS)
    this.streams.loseAfter(0, (stream) => this.#lossOf(stream))
    this.events.broken(code, reason)
  }

  // For the sending half.

  /** @internal A client that stops reading could not credit a server that has stopped, too. */
  backlogged(paused: boolean): void {
    if (this.side === 'client' || this.socket.destroyed) return
    if (paused) this.socket.pause()
    else this.socket.resume()
  }

  /** @internal One who is notified has thrown: that ends its connection, and no other. */
  failed(error: unknown): void {
    this.destroy(isError(error) ? error : new Error(String(error)))
  }

  #streamClosed(): void {
    if (this.#ending && this.streams.open.size === 0) this.#finish()
    else if (!this.#over && !this.#broken) this.events.roomChanged()
  }

  #finish(): void {
    if (this.#over || this.#broken) return
    this.send.flush()
    this.#socketEnd.begin(5 * LINGER_MS)
  }

  #closed(): void {
    if (this.#over) return
    this.#over = true
    this.#socketEnd.stop()
    this.#inbound.reader.stop()
    this.send.stop()
    this.streams.loseAfter(0, (stream) => this.#lossOf(stream))
    this.events.closed(this.#failure)
  }

  /** What the loss of the connection means for a stream. */
  #lossOf(stream: MuxStream): MuxReset {
    const cause = this.#failure
    const executed = this.side === 'server' || stream.id <= this.send.flushedStream
    return { code: undefined, reason: cause?.message ?? 'the connection was lost', executed, cause }
  }
}

/** A stream that was opened after GOAWAY: no peer would answer it. */
const LEFT: MuxReset = Object.freeze({
  code: RESET.NOT_EXECUTED,
  reason: 'the connection takes no more streams',
  executed: false,
})

/** A body that does not fit beside its head. */
function queue(stream: MuxStream, bytes: Uint8Array, end: boolean): void {
  stream.write(bytes)
  if (end) stream.end()
}
