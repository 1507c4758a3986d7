/**
 * An HTTP/2 connection to an endpoint that offers nothing better, shared by many calls. A session
 * of `node:http2` speaks on the socket of a dial.
 *
 * - opening -> ready: the peer's SETTINGS have arrived
 * - ready -> leaving: the peer sent GOAWAY, or the pool replaces it; what runs on it ends there
 * - any -> closed: the socket closed
 */
import { type ClientHttp2Session, connect, type OutgoingHttpHeaders } from 'node:http2'
import type { Dispatcher } from 'undici'
import type { Clock } from '../../core/clock.ts'
import { HTTP2 } from '../../core/transport.ts'
import { resetOfHttp2 } from '../../mux/http2-codes.ts'
import { MUX_DEFAULTS } from '../../mux/settings.ts'
import type { MuxReset } from '../../mux/stream.ts'
import { RESET } from '../../mux/wire.ts'
import { type IdentityRefusal, reasonOfRefusal, refusedByServer } from '../../net/identity-refusal.ts'
import { refusedByAlert } from '../certificate-alert.ts'
import type { ConnectSpan } from '../connect-span.ts'
import type { Dial } from '../dial.ts'
import { LostStream } from '../mux/lost-stream.ts'
import { retirementOf, type ShownCertificate } from '../peer-end.ts'
import { StreamedBody } from './body/streamed.ts'
import type { AnswerHandler, ConnectionUser } from './connection-user.ts'
import { flatHeader } from './headers.ts'
import { Http2RequestStream, type Http2StreamOwner } from './http2-stream.ts'
import type { PooledConnection } from './pooled-connection.ts'
import { StreamExchange } from './stream-exchange.ts'

/** Is notified of the transitions of a connection. Must not throw. */
export interface Http2ConnectionOwner {
  ready(connection: Http2Connection, dial: Dial): void
  roomChanged(connection: Http2Connection): void
  leaving(connection: Http2Connection): void
  closed(connection: Http2Connection): void
}

/** Streams at once, if the peer sets no lower limit. */
const MOST_STREAMS = MUX_DEFAULTS.maxStreams
/** No stream was refused by a GOAWAY. */
const ALL = Number.POSITIVE_INFINITY
const REFUSED_STREAM = 7
const SESSION = {
  settings: { enablePush: false, initialWindowSize: MUX_DEFAULTS.streamWindow },
  maxHeaderListPairs: MUX_DEFAULTS.maxHeaders,
  // A caller may repeat any header, as over HTTP/1.1. Not in the typings.
  strictSingleValueFields: false,
} as const

export class Http2Connection implements PooledConnection, Http2StreamOwner {
  readonly transport = HTTP2
  readonly shared = true
  /** The end of a body is a frame, so a broken connection never looks like one. */
  readonly brokenOff = false
  readonly strained = false
  readonly silent = false
  readonly hesitant = false
  user: ConnectionUser | undefined = undefined
  retireAt: number
  endsAt: number
  readonly peer: ShownCertificate | undefined
  idleSince: number
  leaving = false
  readonly #owner: Http2ConnectionOwner
  readonly #dial: Dial
  readonly #clock: Clock
  readonly #scheme: string
  readonly #session: ClientHttp2Session
  readonly #exchanges = new Set<StreamExchange>()
  #ready = false
  /** The last stream that the peer serves. */
  #last = ALL
  /** What the peer said when it left. */
  #reason = ''
  #bytes = 0
  #heardAt: number
  #pingedAt = Number.POSITIVE_INFINITY

  /** On the socket of `dial`, which its peer uses for HTTP/2. */
  constructor(owner: Http2ConnectionOwner, dial: Dial, tls: boolean, clock: Clock) {
    this.#owner = owner
    this.#dial = dial
    this.#clock = clock
    this.peer = dial.peer
    this.endsAt = dial.peer?.endsAt ?? Number.POSITIVE_INFINITY
    this.retireAt = Math.min(dial.retireAt, retirementOf(this.endsAt, clock))
    this.idleSince = this.#heardAt = clock.now()
    this.#scheme = tls ? 'https' : 'http'
    const { socket } = dial
    this.#session = connect(`${this.#scheme}://peer`, { ...SESSION, createConnection: () => socket })
    this.#session.on('error', (error) => this.#failed(error))
    this.#session.on('remoteSettings', () => this.#settled())
    this.#session.on('goaway', (_code, last, reason) => this.#goingAway(last, reason?.toString('latin1') ?? ''))
    socket.on('close', () => {
      if (this.#ready) owner.closed(this)
    })
  }

  get connecting(): ConnectSpan {
    return this.#dial.connecting
  }

  get running(): number {
    return this.#exchanges.size
  }

  get room(): number {
    if (!this.usable) return 0
    const { maxConcurrentStreams = MOST_STREAMS } = this.#session.remoteSettings
    return Math.max(0, Math.min(maxConcurrentStreams, MOST_STREAMS) - this.running)
  }

  get usable(): boolean {
    return this.#ready && !this.leaving && !this.#session.closed && !this.#session.destroyed
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: AnswerHandler): void {
    const { method, path, body } = options
    const exchange = new StreamExchange(method, handler, this)
    handler.onRequestStart?.(exchange, null)
    if (exchange.over) return
    const headers = options.headers as string[]
    const streamed = body instanceof StreamedBody
    const content = streamed ? undefined : ((body ?? undefined) as Uint8Array | undefined)
    const fields = fieldsOf(headers, method, path, this.#scheme)
    if (content !== undefined) fields['content-length'] ??= String(content.length)
    let stream: Http2RequestStream
    try {
      const sent = this.#session.request(fields, {
        endStream: !streamed && content === undefined,
        waitForTrailers: streamed,
      })
      this.#begun(exchange)
      sent.once('close', () => this.#ended(exchange))
      stream = new Http2RequestStream(sent, this, exchange)
    } catch (error) {
      // The session has closed meanwhile, or Node finds a header wrong.
      const closed = this.#session.closed || this.#session.destroyed
      exchange.fail(
        closed ? this.#unsent(error as Error) : Object.assign(error as Error, { code: 'UND_ERR_INVALID_ARG' }),
      )
      return
    }
    if (streamed) {
      exchange.begunWith(stream, body, flatHeader(headers, 'content-length'))
      return
    }
    stream.endWith(content)
    exchange.begun(stream, content)
  }

  resetOf(id: number | undefined, code: number, answered: boolean): MuxReset {
    const lost = this.#dial.socket.destroyed || this.#session.destroyed
    const beyond = id === undefined || id > this.#last
    const executed = answered || !(beyond || code === REFUSED_STREAM)
    const cause = this.#dial.socket.errored ?? undefined
    if (lost && executed) return { code: undefined, reason: this.#reason, executed, cause }
    return { code: executed ? resetOfHttp2(code) : RESET.NOT_EXECUTED, reason: this.#reason, executed }
  }

  /** Calls need another connection, with another certificate. */
  refusedUs(cause: unknown): void {
    this.#dial.report(cause as IdentityRefusal)
    this.#leave()
  }

  park(): void {
    // It knows itself when no call runs on it.
  }

  giveBackUnread(now: number, most: number): number {
    let given = 0
    for (const exchange of this.#exchanges) if (given < most && exchange.giveBackUnread(now)) given += 1
    return given
  }

  finish(): void {
    this.retireAt = 0
    this.leaving = true
    if (!this.#session.destroyed) this.#session.close()
  }

  close(): void {
    this.leaving = true
    this.#dial.socket.destroy()
  }

  cut(cause: Error): void {
    this.leaving = true
    this.#dial.socket.destroy(cause)
  }

  /** Asks a silent peer for a sign of life. */
  tick(now: number): void {
    const { bytesRead } = this.#dial.socket
    if (bytesRead !== this.#bytes) {
      this.#bytes = bytesRead
      this.#heardAt = now
      this.#pingedAt = Number.POSITIVE_INFINITY
    } else if (this.#pingedAt !== Number.POSITIVE_INFINITY) {
      if (now - this.#pingedAt >= MUX_DEFAULTS.pingTimeoutMs) this.cut(new Error('the peer answers no PING'))
    } else if (now - this.#heardAt >= MUX_DEFAULTS.pingAfterMs && !this.#session.destroyed) {
      this.#pingedAt = now
      this.#session.ping(ignore)
    }
  }

  #unsent(cause: Error): LostStream {
    return new LostStream({ code: undefined, reason: '', executed: false, cause }, this.leaving)
  }

  #begun(exchange: StreamExchange): void {
    this.#exchanges.add(exchange)
    if (this.running === 1) this.#session.ref()
  }

  #ended(exchange: StreamExchange): void {
    this.#exchanges.delete(exchange)
    if (this.running === 0) {
      this.idleSince = this.#clock.now()
      if (!this.#session.destroyed) this.#session.unref()
    }
    this.#owner.roomChanged(this)
  }

  #settled(): void {
    if (this.#ready) {
      this.#owner.roomChanged(this)
      return
    }
    this.#ready = true
    this.#dial.established()
    this.#session.setLocalWindowSize(MUX_DEFAULTS.connectionWindow)
    // A rotation may have come while it was opened.
    this.retireAt = Math.min(this.retireAt, this.#dial.retireAt)
    this.#session.unref()
    this.#owner.ready(this, this.#dial)
  }

  #goingAway(last: number, reason: string): void {
    this.#last = Math.min(this.#last, last)
    this.#reason = reason
    const refusal = reasonOfRefusal(reason)
    if (refusal !== undefined) this.#dial.rejected(refusedByServer(refusal))
    else if (this.#ready) this.#leave()
    else this.#dial.close()
  }

  #leave(): void {
    this.retireAt = 0
    this.leaving = true
    this.#owner.leaving(this)
  }

  #failed(error: Error): void {
    const refusal = refusedByAlert(error)
    if (refusal !== undefined) this.#dial.rejected(refusal)
    else if (!this.#ready) this.#dial.close()
  }
}

/** For `node:http2`, from flat headers. */
function fieldsOf(headers: readonly string[], method: string, path: string, scheme: string): OutgoingHttpHeaders {
  const fields: OutgoingHttpHeaders = Object.create(null) as OutgoingHttpHeaders
  fields[':method'] = method
  fields[':path'] = path
  fields[':scheme'] = scheme
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] === 'host' ? ':authority' : headers[i]!
    const value = headers[i + 1]!
    const before = fields[name]
    if (before === undefined) fields[name] = value
    else if (Array.isArray(before)) before.push(value)
    else fields[name] = [String(before), value]
  }
  return fields
}

function ignore(): void {}
