/**
 * A mux connection that carries gRPC calls. Its dial offers HTTP/2 as well; if the peer takes that,
 * the owner opens a channel of grpc-js instead.
 */

import type * as grpc from '@grpc/grpc-js'
import type { ErrorCode } from '../../core/errors.ts'
import { isError } from '../../core/errors.ts'
import { HTTP2, MUX } from '../../core/transport.ts'
import type { MuxStream, StreamEvents } from '../../mux/stream.ts'
import type { ConnectSpan } from '../connect-span.ts'
import { Dial, type DialFailure, type DialOwner } from '../dial.ts'
import { MuxConnection } from '../mux/connection.ts'
import type { ShownCertificate } from '../peer-end.ts'
import type { CallHead, CallOwner, GrpcConnection, GrpcConnectionOwner, GrpcConnectionSetup } from './connection.ts'
import type { CarriedCall } from './grpc-js.ts'
import { type AuthContext, MuxCall, type MuxCallHost } from './mux-call.ts'
import { requestHeaders } from './mux-headers.ts'

/** Owns the connection, and another if the peer does not speak the mux. */
export interface GrpcMuxOwner extends GrpcConnectionOwner {
  /** The peer speaks HTTP/2 only. Nothing was sent to it. */
  foreign(connection: GrpcConnection): void
}

/** A connection without calls closes after this. */
const IDLE_MS = 300_000
const OFFERS = Object.freeze([MUX, HTTP2])

export class MuxGrpcConnection implements GrpcConnection, MuxCallHost, DialOwner {
  readonly transport = MUX
  heardAt = 0
  silences = 0
  /** The limit is that of each call. */
  readonly largestMessage = Number.POSITIVE_INFINITY
  readonly Metadata: new () => grpc.Metadata
  readonly #owner: GrpcMuxOwner
  readonly #setup: GrpcConnectionSetup
  #dial: Dial | undefined = undefined
  #mux: MuxConnection | undefined = undefined
  #retireAt = Number.POSITIVE_INFINITY
  #endsAt = Number.POSITIVE_INFINITY
  /** Calls in flight, including health checks and those that have not begun. */
  #running = 0
  /** Calls that begin at the end of this turn of the event loop. */
  #waiting: MuxCall[] = []
  #unbegun = 0
  #stood = false
  #foreign = false
  #closed = false
  #authContext: AuthContext = null

  /** @throws the source's error if there is no identity yet */
  constructor(owner: GrpcMuxOwner, setup: GrpcConnectionSetup) {
    this.#owner = owner
    this.#setup = setup
    this.Metadata = setup.grpc.Metadata
    if (owner.endpoint.tls) void setup.identity!.source.current
  }

  get endpoint(): GrpcConnectionOwner['endpoint'] {
    return this.#owner.endpoint
  }

  get retireAt(): number {
    return Math.min(this.#retireAt, this.#mux?.retireAt ?? Number.POSITIVE_INFINITY)
  }

  set retireAt(at: number) {
    this.#retireAt = at
    // A rotation may come while it is opened.
    if (this.#dial !== undefined) this.#dial.retireAt = at
  }

  get endsAt(): number {
    return this.#mux === undefined ? this.#endsAt : this.#mux.endsAt
  }

  set endsAt(at: number) {
    this.#endsAt = at
    if (this.#mux !== undefined) this.#mux.endsAt = at
  }

  get peer(): ShownCertificate | undefined {
    return this.#mux?.peer
  }

  get connecting(): ConnectSpan {
    return this.#dial!.connecting
  }

  get ready(): boolean {
    return this.#stood && this.#mux!.usable
  }

  get hasRoom(): boolean {
    return this.#mux !== undefined && this.#mux.room > this.#unbegun
  }

  get lost(): boolean {
    return this.#stood && !this.ready
  }

  get isLeft(): boolean {
    return this.#mux?.session.leaving === true
  }

  get authContext(): AuthContext {
    this.#authContext ??= authContextOf(this.#dial?.socket)
    return this.#authContext
  }

  dial(): void {
    if (this.#dial !== undefined || this.#closed) return
    const { tls } = this.endpoint
    this.#dial = new Dial(this, this.#setup, tls ? OFFERS : [MUX])
    this.#dial.retireAt = this.#retireAt
  }

  /** Its session says when there is room. */
  wantRoom(): void {}

  take(): void {
    this.#running += 1
  }

  begin(head: CallHead, owner: CallOwner): CarriedCall {
    const { service } = this.endpoint
    const headers = requestHeaders(head, service, this.#setup.userAgent)
    const call = new MuxCall(this, owner, head.path, headers, this.#setup.largestMessage(service))
    this.#unbegun += 1
    if (this.#waiting.push(call) === 1) process.nextTick(beginAll, this)
    return call
  }

  /** @internal */
  beginAll(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (let i = 0; i < waiting.length; i++) {
      const call = waiting[i]!
      call.begin()
      // Cancelled before it began.
      if (!call.asked) this.#unbegun -= 1
    }
    this.#roomChanged()
  }

  request(path: string, headers: string[], body: Buffer | undefined, end: boolean, events: StreamEvents): MuxStream {
    this.#unbegun -= 1
    if (!this.ready) throw new Error('the connection was lost')
    const stream = this.#mux!.session.request('POST', path, headers, body, end, events)
    this.#mux!.begun()
    return stream
  }

  release(): void {
    this.#running -= 1
    if (this.#running === 0 && this.#retireAt === 0) this.close()
    else this.#roomChanged()
  }

  heard(now: number): void {
    this.heardAt = now
    this.silences = 0
  }

  failure(details: string): { readonly code: ErrorCode; readonly cause: Error } {
    return { code: 'connect-failed', cause: new Error(details) }
  }

  retire(): void {
    this.retireAt = 0
    if (this.#running === 0) this.close()
  }

  sweep(now: number): void {
    const mux = this.#mux
    if (mux === undefined || !this.#stood) return
    mux.tick(now)
    if (this.#running === 0 && now - mux.idleSince >= IDLE_MS) this.#owner.lost(this, 'connect-failed', 'it was idle')
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (!this.#stood) this.#dial?.close()
    else if (this.#running === 0) this.#mux!.finish()
    // The calls that still run are cut; what they have said of it leaves first.
    else setImmediate(cutOff, this.#mux!)
    this.#owner.closed(this)
  }

  cut(cause: Error): void {
    if (this.#stood) this.#mux!.cut(cause)
    else this.#dial?.cut(cause)
  }

  // The dial's events.

  opened(dial: Dial, chosen: string | undefined): void {
    if (this.#closed) return
    if (chosen === MUX || !this.endpoint.tls) this.#adopt(dial)
    else this.#isForeign(dial)
  }

  failed(dial: Dial, { code, cause, wrongTransport }: DialFailure): void {
    if (this.#closed || this.#foreign) return
    if (wrongTransport === true) this.#isForeign(dial)
    else this.#owner.failed(this, code, isError(cause) ? cause : new Error(String(cause)))
  }

  #isForeign(dial: Dial): void {
    this.#foreign = true
    dial.close()
    this.#owner.foreign(this)
  }

  #adopt(dial: Dial): void {
    const owner = this.#owner
    const events = {
      ready: () => this.#stands(),
      roomChanged: () => this.#roomChanged(),
      leaving: () => owner.lost(this, 'refused-by-peer', 'the peer takes no more calls on this connection (GOAWAY)'),
      closed: () => owner.lost(this, 'connect-failed', 'the connection was lost'),
    }
    this.#mux = new MuxConnection(events, dial, this.#setup.clock)
  }

  #roomChanged(): void {
    if (this.#owner.waiting > 0) this.#owner.freed(this)
  }

  #stands(): void {
    if (this.#closed) return
    this.#stood = true
    this.heardAt = this.#setup.clock.now()
    this.#retireAt = Math.min(this.#retireAt, this.#mux!.retireAt)
    this.#owner.dialed(this, true)
  }
}

/** A socket, with or without TLS. */
interface Connected {
  readonly authorized?: boolean
  getPeerCertificate?(): NonNullable<NonNullable<AuthContext>['sslPeerCertificate']>
}

/** As grpc-js describes a connection. */
function authContextOf(socket: object | undefined): NonNullable<AuthContext> {
  const secure = socket as Connected | undefined
  if (secure?.authorized !== true || secure.getPeerCertificate === undefined) return {}
  return { transportSecurityType: 'ssl', sslPeerCertificate: secure.getPeerCertificate() }
}

function cutOff(mux: MuxConnection): void {
  mux.close()
}

function beginAll(connection: MuxGrpcConnection): void {
  connection.beginAll()
}
