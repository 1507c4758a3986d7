/**
 * `inmesh/1` for the acceptor: each accepted connection becomes a session. It knows nothing of HTTP
 * and gRPC, whose server takes each new stream. One timer sweeps all sessions.
 */
import type { Socket } from 'node:net'
import { Sweeper, type Swept } from '../../core/sweeper.ts'
import { MUX, type TransportName } from '../../core/transport.ts'
import { MuxSession, type SessionEvents } from '../../mux/session.ts'
import type { MuxSettings } from '../../mux/settings.ts'
import type { MuxStream } from '../../mux/stream.ts'
import { GOAWAY, type GoAwayCode, PREFACE } from '../../mux/wire.ts'
import { identityRefusal } from '../../net/identity-refusal.ts'
import type { AcceptorHost } from '../acceptor.ts'
import type { Connection } from '../connection.ts'
import { reportFlood } from '../flood-report.ts'
import type { CallerIdentity } from '../inbound-call.ts'
import type { RefusalAnswer } from '../lingering-close.ts'
import type { ServerProtocol } from '../protocol.ts'
import type { Stranger } from '../stranger.ts'
import { MuxConnection } from './connection.ts'
import { refuseMux } from './refusal.ts'

export interface MuxHost extends AcceptorHost {
  /**
   * A new stream; sets its `events`. Runs in a scope of its request, while a packet is read. Must
   * not throw.
   */
  streamOpened(
    connection: MuxConnection,
    stream: MuxStream,
    method: string,
    path: string,
    headers: string[],
    end: boolean,
  ): void
  /** Twice a second. */
  swept?(now: number): void
}

export interface MuxServerSettings {
  readonly session: MuxSettings
  /** A connection without a stream for this time is asked to leave. */
  readonly idleMs: number
  /** How long streams may continue on a connection that was asked to leave. */
  readonly streamGraceMs: number
}

const SWEEP_MS = 500
/** From the last stream of a leaving connection to its end, if the peer does not close it. */
const CLOSE_MS = 5_000

export class MuxProtocol implements ServerProtocol, Swept {
  readonly alpn: TransportName = MUX
  readonly preface = PREFACE
  readonly withoutAlpn = false
  readonly allowHalfOpen = false
  /** A client may connect during the drain, before it has heard of it. */
  readonly retireAt = Number.POSITIVE_INFINITY
  readonly #host: MuxHost
  readonly #settings: MuxServerSettings
  readonly #connections = new Set<MuxConnection>()
  readonly #sweeper: Sweeper
  #accepting = true

  constructor(host: MuxHost, settings: MuxServerSettings) {
    this.#host = host
    this.#settings = settings
    this.#sweeper = new Sweeper(host.clock, SWEEP_MS, this)
  }

  createConnection(
    socket: Socket,
    caller: CallerIdentity | undefined,
    expiresAt: number,
    retireAt: number,
  ): MuxConnection {
    return new MuxConnection(socket, caller, expiresAt, retireAt, this.#host.clock.now())
  }

  accept(accepted: Connection): void {
    const connection = accepted as MuxConnection
    const { socket } = connection
    const events = new ConnectionEvents(this.#host, connection)
    const session = new MuxSession(socket, 'server', this.#settings.session, this.#host.clock, events)
    connection.session = session
    this.#connections.add(connection)
    this.#sweeper.start()
    socket.on('data', (bytes: Buffer) => session.receive(bytes))
    // Its handshake was still going on.
    if (!this.#accepting) this.#leave(connection, this.#host.clock.now())
  }

  connectionClosed(connection: Connection): void {
    this.#connections.delete(connection as MuxConnection)
  }

  endConnection(connection: Connection): void {
    this.#leave(connection as MuxConnection, this.#host.clock.now())
  }

  refusal({ reason }: Stranger): RefusalAnswer {
    return refuseMux(reason)
  }

  dismiss(connection: Connection, reason: string): void {
    const { session } = connection as MuxConnection
    session.goAway(GOAWAY.IDENTITY_REFUSED, identityRefusal(reason))
    session.end()
  }

  listening(): void {}

  retire(): void {
    this.sweep(this.#host.clock.now())
  }

  stopAccepting(): void {
    this.#accepting = false
    const now = this.#host.clock.now()
    for (const connection of this.#connections) this.#leave(connection, now)
  }

  close(): void {
    this.#sweeper.stop()
  }

  /** Streams beyond the GOAWAY are certainly not executed; the others are answered. */
  #leave(connection: MuxConnection, now: number): void {
    if (connection.leftAt !== Number.POSITIVE_INFINITY) return
    connection.leftAt = now
    connection.session.goAway(GOAWAY.NO_ERROR)
    connection.session.end()
  }

  /** @internal */
  sweep(now: number): boolean {
    for (const connection of this.#connections) this.#look(connection, now)
    this.#host.swept?.(now)
    return this.#connections.size > 0
  }

  #look(connection: MuxConnection, now: number): void {
    const { session } = connection
    const { idleMs, streamGraceMs } = this.#settings
    if (session.open > 0 || session.backlog > 0) connection.activeAt = now
    const leaving = connection.leftAt !== Number.POSITIVE_INFINITY
    if (!leaving && (now >= connection.retireAt || now - connection.activeAt >= idleMs)) this.#leave(connection, now)
    else if (leaving && now - Math.max(connection.leftAt, connection.activeAt) >= CLOSE_MS) session.destroy()
    else if (leaving && now - connection.leftAt >= streamGraceMs) session.destroy()
    session.tick(now)
  }
}

class ConnectionEvents implements SessionEvents {
  readonly #host: MuxHost
  readonly #connection: MuxConnection

  constructor(host: MuxHost, connection: MuxConnection) {
    this.#host = host
    this.#connection = connection
  }

  requestArrived(stream: MuxStream, method: string, path: string, headers: string[], end: boolean): void {
    const connection = this.#connection
    connection.activeAt = connection.session.heardAt
    const { scope } = connection
    scope.run(() => this.#host.streamOpened(connection, stream, method, path, headers, end))
  }

  settled(): void {}

  goingAway(): void {}

  roomChanged(): void {}

  requestRefused(): void {
    this.#host.events.emit('admission:refused', { side: 'server', code: 'protocol-error' })
  }

  broken(code: GoAwayCode, reason: string): void {
    // What a flood consists of is one of few words.
    reportFlood(
      this.#host.events,
      this.#connection,
      code === GOAWAY.FLOOD ? reason : (REASONS[code] ?? 'protocol-error'),
    )
  }

  closed(): void {}
}

/** Of a fixed set, because metrics have one series for each. */
const REASONS: Readonly<Record<number, string>> = Object.freeze({
  [GOAWAY.PROTOCOL_ERROR]: 'protocol-error',
  [GOAWAY.FLOW_CONTROL_ERROR]: 'flow-control-error',
})
