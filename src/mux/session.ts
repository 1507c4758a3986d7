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
import { readLatin1 } from './bytes.ts'
import { type FrameListener, FrameReader } from './frame-reader.ts'
import { HeadReader } from './head-reader.ts'
import { fitsHead } from './head-writer.ts'
import { type SendOwner, SendQueue } from './send-queue.ts'
import { decodeSettings, encodeSettings, type MuxSettings, type PeerSettings } from './settings.ts'
import { type MuxReset, MuxStream, type StreamEvents, type StreamHost } from './stream.ts'
import {
  FLAG,
  FRAME,
  GOAWAY,
  type GoAwayCode,
  LAST_STREAM,
  MAX_REASON_BYTES,
  MAX_WINDOW,
  PREFACE,
  RESET,
  type ResetCode,
} from './wire.ts'

/** The owner of a session. Must not throw. */
export interface SessionEvents {
  /**
   * A server's: sets `stream.events`. A body that came with the head follows by
   * {@link StreamEvents.dataArrived}.
   */
  requestArrived(stream: MuxStream, method: string, path: string, headers: string[], end: boolean): void
  /** The peer's SETTINGS have arrived. */
  settled(): void
  /** The peer takes no more streams. Those after `lastStream` have been reset. */
  goingAway(lastStream: number, code: number, reason: string): void
  /** A stream has closed. */
  roomChanged(): void
  /** The peer breaks the rules or the bounds, and the connection ends. */
  broken(code: GoAwayCode, reason: string): void
  /** The socket has closed, and all streams have been reset. */
  closed(cause: Error | undefined): void
}

export class MuxSession implements StreamHost, FrameListener, SendOwner {
  readonly socket: Socket
  /** When the last complete frame arrived. */
  heardAt: number
  /** Round trip of the last PING in ms; 0 without one. */
  roundTripMs = 0
  /** Either side has sent GOAWAY, or the stream numbers are used up. */
  leaving = false
  settled = false
  readonly #side: 'client' | 'server'
  readonly #settings: MuxSettings
  readonly #clock: Clock
  readonly #events: SessionEvents
  readonly #streams = new Map<number, MuxStream>()
  readonly #reader: FrameReader
  readonly #heads: HeadReader
  readonly #send: SendQueue
  #peer: PeerSettings = { maxStreams: 0, streamWindow: 0, connectionWindow: 0 }
  /** How much of the preface has arrived. */
  #preface: number
  readonly #startedAt: number
  /** The last stream that was opened. */
  #lastStream = 0
  /** The last that we serve, after our GOAWAY. */
  #servesUntil = LAST_STREAM
  /** Bytes that we take before more are credited. */
  #window: number
  #uncredited = 0
  #pingedAt = Number.POSITIVE_INFINITY
  /** The peer is silent for too long; once more the event loop turns before it is given up. */
  #suspect = false
  #ending = false
  #failure: Error | undefined = undefined
  #over = false

  constructor(socket: Socket, side: 'client' | 'server', settings: MuxSettings, clock: Clock, events: SessionEvents) {
    this.socket = socket
    this.#side = side
    this.#settings = settings
    this.#clock = clock
    this.#events = events
    this.#reader = new FrameReader(this)
    this.#heads = new HeadReader(settings.maxHeaders)
    this.#send = new SendQueue(socket, this)
    this.#window = settings.connectionWindow
    this.#startedAt = this.heardAt = clock.now()
    this.#preface = side === 'server' ? 0 : PREFACE.length
    socket.on('error', (error) => {
      this.#failure ??= error
    })
    socket.on('end', () => {
      // A half-closed peer can neither credit nor answer.
      if (!socket.destroyed) socket.destroySoon()
    })
    socket.on('close', () => this.#closed())
    this.#send.start(side === 'client', encodeSettings(settings))
  }

  /** Streams that are open. */
  get open(): number {
    return this.#streams.size
  }

  /** Streams that may be opened now. */
  get room(): number {
    if (this.leaving || !this.settled || this.#over || this.#ending) return 0
    return Math.max(0, this.#peer.maxStreams - this.#streams.size)
  }

  /** Bytes that wait for the network or for the peer's credit. */
  get backlog(): number {
    return this.#send.outstanding
  }

  /** @internal How much is read before it is credited. */
  get creditStep(): number {
    return this.#settings.streamWindow >> 1
  }

  /** Nothing of `bytes` is kept without a copy. */
  receive(bytes: Buffer): void {
    if (this.#over) return
    if (this.#preface === PREFACE.length) {
      this.#reader.push(bytes)
      return
    }
    const length = Math.min(PREFACE.length - this.#preface, bytes.length)
    if (bytes.compare(PREFACE, this.#preface, this.#preface + length, 0, length) !== 0) {
      this.#break(GOAWAY.PROTOCOL_ERROR, 'the connection does not begin as inmesh/1 does')
      return
    }
    this.#preface += length
    if (bytes.length > length) this.#reader.push(bytes.subarray(length))
  }

  /**
   * A client's new stream. `body`: what is known of it; `end`: that is all.
   *
   * @throws HeadTooLarge before anything was sent
   */
  request(
    method: string,
    path: string,
    headers: readonly string[],
    body: Uint8Array | string | undefined,
    end: boolean,
    events: StreamEvents,
  ): MuxStream {
    const id = this.#lastStream + 1
    const stream = new MuxStream(this, id, events, this.#peer.streamWindow, this.#settings.streamWindow)
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    const beside = this.#fits(stream, headers, path, bytes)
    this.#send.request(stream, method, path, headers, beside ? bytes : undefined, end && beside)
    this.#lastStream = id
    if (id === LAST_STREAM) this.leaving = true
    this.#streams.set(id, stream)
    if (!beside) this.#queue(stream, bytes!, end)
    else if (end) stream.localEnded = stream.ending = true
    return stream
  }

  /** Takes no more streams, and tells the peer which is the last that is served. */
  goAway(code: GoAwayCode, reason = ''): void {
    if (this.#over) return
    this.leaving = true
    this.#servesUntil = Math.min(this.#servesUntil, this.#lastStream)
    this.#send.goAway(this.#side === 'server' ? this.#servesUntil : 0, code, reason.slice(0, MAX_REASON_BYTES))
  }

  /** Asks for a sign of life. */
  ping(): void {
    if (this.#pingedAt !== Number.POSITIVE_INFINITY || this.#over) return
    this.#pingedAt = this.#clock.now()
    this.#send.ping(PING_PAYLOAD, false)
  }

  /** Housekeeping, about once a second. */
  tick(now: number): void {
    if (this.#over) return
    const { pingAfterMs, pingTimeoutMs, firstFrameMs } = this.#settings
    if (!this.settled) {
      if (now - this.#startedAt >= firstFrameMs) this.destroy(new Error('the peer said nothing'))
      return
    }
    if (this.#pingedAt === Number.POSITIVE_INFINITY) {
      this.#suspect = false
      if (now - this.heardAt >= pingAfterMs) this.ping()
    } else if (now - this.#pingedAt >= pingTimeoutMs && now - this.heardAt >= pingTimeoutMs) {
      // After a stall of our loop, the answer may wait in the socket.
      if (this.#suspect) this.destroy(new Error('the peer is silent'))
      this.#suspect = true
    }
  }

  /** Closes after what is queued has left and all streams have closed. */
  end(): void {
    this.#ending = true
    if (this.#streams.size === 0) this.#finish()
  }

  /** Closes at once. */
  destroy(cause?: Error): void {
    if (cause !== undefined) this.#failure ??= cause
    this.socket.destroy()
  }

  // For streams.

  /** @internal */
  respond(
    stream: MuxStream,
    status: number,
    reason: string,
    headers: readonly string[],
    body: Uint8Array | undefined,
    end: boolean,
  ): void {
    const beside = this.#fits(stream, headers, '', body)
    this.#send.response(stream, status, reason, headers, beside ? body : undefined, end && beside)
    if (!beside) this.#queue(stream, body!, end)
    else if (end) {
      stream.localEnded = stream.ending = true
      this.#closeIfEnded(stream)
    }
  }

  /** @internal Its turn to send comes. */
  ready(stream: MuxStream): void {
    this.#send.ready(stream)
  }

  /** @internal The last frame of our half is written. */
  sentEnd(stream: MuxStream): void {
    stream.localEnded = true
    stream.events.endSent?.(stream)
    this.#closeIfEnded(stream)
  }

  /** @internal */
  credit(bytes: number): void {
    this.#uncredited += bytes
    if (this.#uncredited < this.#settings.connectionWindow >> 1 || this.#over) return
    this.#window += this.#uncredited
    this.#send.window(0, this.#uncredited)
    this.#uncredited = 0
  }

  /** @internal */
  creditStream(stream: MuxStream, bytes: number): void {
    if (!this.#over) this.#send.window(stream.id, bytes)
  }

  /** @internal */
  reset(stream: MuxStream, code: ResetCode, reason: string): void {
    if (stream.closed) return
    if (!this.#over) this.#send.reset(stream.id, code, reason.slice(0, MAX_REASON_BYTES))
    this.#close(stream)
  }

  // For the reader.

  /** @internal */
  frameTooLong(length: number): void {
    this.#break(GOAWAY.PROTOCOL_ERROR, `a frame of ${length} bytes`)
  }

  /** @internal */
  frameArrived(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    this.heardAt = this.#clock.now()
    if (!this.settled && type !== FRAME.SETTINGS && type !== FRAME.GOAWAY) {
      this.#break(GOAWAY.PROTOCOL_ERROR, 'a frame before SETTINGS')
      return
    }
    switch (type) {
      case FRAME.REQUEST:
        this.#requestArrived(flags, id, bytes, from, to)
        break
      case FRAME.RESPONSE:
        this.#responseArrived(flags, id, bytes, from, to)
        break
      case FRAME.DATA:
        this.#dataArrived(this.#known(id), bytes, from, to, (flags & FLAG.END) !== 0)
        break
      case FRAME.TRAILERS:
        this.#trailersArrived(id, bytes, from, to)
        break
      case FRAME.RESET:
        this.#resetArrived(id, bytes, from, to)
        break
      case FRAME.WINDOW:
        this.#windowArrived(id, bytes, from, to)
        break
      case FRAME.PING:
        this.#pingArrived(flags, bytes, from, to)
        break
      case FRAME.GOAWAY:
        this.#goAwayArrived(bytes, from, to)
        break
      case FRAME.SETTINGS:
        this.#settingsArrived(bytes, from, to)
        break
      default:
        this.#break(GOAWAY.PROTOCOL_ERROR, `a frame of the unknown type ${type}`)
    }
  }

  #requestArrived(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (this.#side === 'client' || id <= this.#lastStream || id > LAST_STREAM) {
      this.#break(GOAWAY.PROTOCOL_ERROR, `a request on stream ${id}`)
      return
    }
    const heads = this.#heads
    if (!heads.request(flags, bytes, from, to)) {
      this.#break(GOAWAY.PROTOCOL_ERROR, `a request with ${heads.problem}`)
      return
    }
    if (id > this.#servesUntil) {
      this.#takeUnowned(to - heads.at)
      return
    }
    this.#lastStream = id
    if (this.#streams.size >= this.#settings.maxStreams) {
      this.#takeUnowned(to - heads.at)
      this.#send.reset(id, RESET.NOT_EXECUTED, 'too many streams')
      return
    }
    const { streamWindow } = this.#settings
    const stream = new MuxStream(this, id, UNOWNED, this.#peer.streamWindow, streamWindow)
    this.#streams.set(id, stream)
    const { method, path, headers, at } = heads
    const end = (flags & FLAG.END) !== 0
    if (end && at === to) stream.remoteEnded = true
    this.#events.requestArrived(stream, method, path, headers, end && at === to)
    if (at < to) this.#dataArrived(stream.closed ? undefined : stream, bytes, at, to, end)
  }

  #responseArrived(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    const stream = this.#known(id)
    const heads = this.#heads
    if (this.#side === 'server' || !heads.response(flags, bytes, from, to)) {
      this.#break(GOAWAY.PROTOCOL_ERROR, `a response with ${heads.problem ?? 'no request'}`)
      return
    }
    const { status, reason, headers, at } = heads
    if (stream === undefined) {
      this.#takeUnowned(to - at)
      return
    }
    const end = (flags & FLAG.END) !== 0
    if (end && at === to) stream.remoteEnded = true
    stream.events.responseArrived(stream, status, reason, headers, end && at === to)
    if (at < to) this.#dataArrived(stream.closed ? undefined : stream, bytes, at, to, end)
    else this.#closeIfEnded(stream)
  }

  #dataArrived(stream: MuxStream | undefined, bytes: Buffer, from: number, to: number, end: boolean): void {
    const length = to - from
    if (stream === undefined) {
      this.#takeUnowned(length)
      return
    }
    if (stream.remoteEnded || length > stream.window || length > this.#window) {
      this.#break(GOAWAY.FLOW_CONTROL_ERROR, `data beyond the window of stream ${stream.id}`)
      return
    }
    this.#window -= length
    stream.received(length)
    stream.remoteEnded = end
    stream.events.dataArrived(stream, copy(bytes, from, to), end)
    this.#closeIfEnded(stream)
  }

  /** Of a stream that is closed: it occupies only the connection's window. */
  #takeUnowned(length: number): void {
    if (length > this.#window) {
      this.#break(GOAWAY.FLOW_CONTROL_ERROR, 'data beyond the window of the connection')
      return
    }
    this.#window -= length
    this.credit(length)
  }

  #trailersArrived(id: number, bytes: Buffer, from: number, to: number): void {
    const heads = this.#heads
    const stream = this.#known(id)
    if (!heads.trailers(bytes, from, to)) {
      this.#break(GOAWAY.PROTOCOL_ERROR, `trailers with ${heads.problem}`)
      return
    }
    if (stream === undefined || stream.remoteEnded) return
    stream.remoteEnded = true
    stream.events.trailersArrived(stream, heads.headers)
    this.#closeIfEnded(stream)
  }

  #resetArrived(id: number, bytes: Buffer, from: number, to: number): void {
    const stream = this.#known(id)
    if (to === from) {
      this.#break(GOAWAY.PROTOCOL_ERROR, 'a RESET without a code')
      return
    }
    if (stream === undefined) return
    const code = bytes[from]! as ResetCode
    const reason = readLatin1(bytes, from + 1, Math.min(to, from + 1 + MAX_REASON_BYTES))
    this.#lose(stream, { code, reason, executed: code !== RESET.NOT_EXECUTED })
  }

  #windowArrived(id: number, bytes: Buffer, from: number, to: number): void {
    const credit = to - from === 4 ? bytes.readUInt32BE(from) : 0
    const stream = id === 0 ? undefined : this.#known(id)
    const before = id === 0 ? this.#send.credit : (stream?.credit ?? 0)
    if (credit === 0 || before + credit > MAX_WINDOW) {
      this.#break(GOAWAY.FLOW_CONTROL_ERROR, `a WINDOW of ${credit}`)
      return
    }
    if (id === 0) this.#send.credited(credit)
    else if (stream !== undefined) {
      stream.credit += credit
      if (stream.queued > 0) this.#send.ready(stream)
    }
  }

  #pingArrived(flags: number, bytes: Buffer, from: number, to: number): void {
    if (to - from !== PING_PAYLOAD.length) {
      this.#break(GOAWAY.PROTOCOL_ERROR, 'a PING that has not 8 bytes')
      return
    }
    if ((flags & FLAG.ACK) === 0) {
      this.#send.ping(bytes.subarray(from, to), true)
      return
    }
    if (this.#pingedAt === Number.POSITIVE_INFINITY) return
    this.roundTripMs = this.heardAt - this.#pingedAt
    this.#pingedAt = Number.POSITIVE_INFINITY
    this.#suspect = false
  }

  #goAwayArrived(bytes: Buffer, from: number, to: number): void {
    if (to - from < 5) {
      this.#break(GOAWAY.PROTOCOL_ERROR, 'a GOAWAY that is too short')
      return
    }
    const last = bytes.readUInt32BE(from)
    const code = bytes[from + 4]!
    const reason = readLatin1(bytes, from + 5, Math.min(to, from + 5 + MAX_REASON_BYTES))
    this.leaving = true
    if (this.#side === 'client') {
      for (const stream of [...this.#streams.values()]) {
        if (stream.id > last) this.#lose(stream, { code: RESET.NOT_EXECUTED, reason, executed: false })
      }
    }
    this.#events.goingAway(last, code, reason)
    if (this.#side === 'client') this.end()
  }

  #settingsArrived(bytes: Buffer, from: number, to: number): void {
    const peer = this.settled ? undefined : decodeSettings(bytes, from, to)
    if (peer === undefined) {
      this.#break(GOAWAY.PROTOCOL_ERROR, this.settled ? 'SETTINGS twice' : 'malformed SETTINGS')
      return
    }
    this.#peer = peer
    this.settled = true
    this.#send.credited(peer.connectionWindow)
    this.#events.settled()
  }

  /** `undefined`: it has closed already. A stream that was never opened breaks the connection. */
  #known(id: number): MuxStream | undefined {
    const stream = this.#streams.get(id)
    if (stream === undefined && (id === 0 || (id > this.#lastStream && this.#servesUntil === LAST_STREAM))) {
      this.#break(GOAWAY.PROTOCOL_ERROR, `a frame of stream ${id}, which is not open`)
    }
    return stream
  }

  #fits(stream: MuxStream, headers: readonly string[], path: string, body: Uint8Array | undefined): boolean {
    if (body === undefined) return true
    const { length } = body
    return length <= stream.credit && this.#send.takes(length) && fitsHead(headers, path, length)
  }

  #queue(stream: MuxStream, bytes: Uint8Array, end: boolean): void {
    stream.write(bytes)
    if (end) stream.end()
  }

  #closeIfEnded(stream: MuxStream): void {
    if (stream.localEnded && stream.remoteEnded) this.#close(stream)
  }

  #close(stream: MuxStream): void {
    if (stream.closed) return
    stream.close()
    this.#streams.delete(stream.id)
    if (this.#ending && this.#streams.size === 0) this.#finish()
    else if (!this.#over) this.#events.roomChanged()
  }

  #lose(stream: MuxStream, reset: MuxReset): void {
    if (stream.closed) return
    this.#close(stream)
    stream.discardUnread()
    stream.events.wasReset(stream, reset)
  }

  #finish(): void {
    if (this.#over) return
    this.#send.flush()
    this.socket.end()
  }

  /** Says why, then closes. */
  #break(code: GoAwayCode, reason: string): void {
    if (this.#over || this.#failure !== undefined) return
    this.#failure = new Error(`the peer sent ${reason}`)
    this.#reader.stop()
    this.goAway(code, reason)
    this.#send.flush()
    this.socket.destroySoon()
    this.#events.broken(code, reason)
  }

  #closed(): void {
    if (this.#over) return
    this.#over = true
    this.#reader.stop()
    this.#send.stop()
    const cause = this.#failure
    for (const stream of [...this.#streams.values()]) {
      const executed = this.#side === 'server' || stream.id <= this.#send.flushedStream
      this.#lose(stream, { code: undefined, reason: cause?.message ?? 'the connection was lost', executed, cause })
    }
    this.#events.closed(cause)
  }
}

const PING_PAYLOAD = Buffer.from('inmesh/1', 'latin1')

/** Until the owner of a session has set the events of a stream. */
const UNOWNED: StreamEvents = Object.freeze({
  responseArrived() {},
  dataArrived() {},
  trailersArrived() {},
  wasReset() {},
  drained() {},
})

function copy(bytes: Buffer, from: number, to: number): Buffer {
  const own = Buffer.allocUnsafe(to - from)
  bytes.copy(own, 0, from, to)
  return own
}
