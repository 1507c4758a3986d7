/**
 * One TCP connection to an endpoint. It is open when the server says so, after mTLS; then its one
 * user reads and writes it.
 *
 * - dialing -> greeting: connected and verified; the server has not admitted it yet
 * - dialing, greeting -> closed: failed, nothing was sent
 * - dialing, greeting -> open
 * - open -> closed
 */
import type { Socket } from 'node:net'
import type { Endpoint } from '../../core/endpoint.ts'
import { type Outcome, outcome } from '../../core/outcome.ts'
import type { IdentityRefusal } from '../../net/identity-refusal.ts'
import { readGreeting, TCP_ALPN } from '../../net/tcp-greeting.ts'
import type { TcpMeter, TcpMetrics } from '../../telemetry/tcp-metrics.ts'
import type { ConnectSpan } from '../connect-span.ts'
import { Dial, type DialFailure, type DialOwner, type DialSetup } from '../dial.ts'
import type { ShownCertificate } from '../peer-end.ts'
import { refusedOutcome } from './outcome.ts'

/** What all connections of a mesh share. */
export interface ConnectionSetup extends DialSetup {
  readonly metrics: TcpMetrics | undefined
}

/** Waits for a connection: an attempt or a probe. */
export interface ConnectionUser {
  /** Its turn has come. */
  dialing(connection: TcpConnection): void
  /** It is open. Nothing of it is read before {@link TcpConnection.attach}. */
  opened(connection: TcpConnection): void
  /** It was never open, and nothing was sent. */
  failed(outcome: Outcome): void
  /** The first byte of the peer has arrived. */
  heard?(): void
  /** The peer has sent all. */
  peerEnded?(): void
  /** It has closed, after it was open. `error`: it was lost; `ours`: our side closed it. */
  closed?(error: Error | undefined, ours: boolean): void
}

/** Reads an open connection. */
export interface ConnectionReader {
  /** Returns false if it wants no more for now. */
  data(chunk: Buffer): boolean
  /** The peer has sent all. */
  ended(): void
  closed(error: Error | undefined): void
}

/** The pool that it belongs to. */
export interface ConnectionOwner {
  readonly endpoint: Endpoint
  opened(connection: TcpConnection): void
  closed(connection: TcpConnection): void
}

export class TcpConnection implements DialOwner {
  readonly endpoint: Endpoint
  retireAt = Number.POSITIVE_INFINITY
  /** When the peer's certificate expires, wall clock. */
  endsAt = Number.POSITIVE_INFINITY
  peer: ShownCertificate | undefined = undefined
  bytesRead = 0
  bytesWritten = 0
  /** It is, or was, open. */
  isOpen = false
  isClosed = false
  /** What moved last went to the peer, so an answer may be due. */
  awaits = false
  /** It counts as load of its endpoint, beside attempts. */
  #held = false
  readonly #owner: ConnectionOwner
  readonly #setup: ConnectionSetup
  readonly #dial: Dial
  #user: ConnectionUser | undefined
  #reader: ConnectionReader | undefined = undefined
  #meter: TcpMeter | undefined = undefined
  #greeting: Buffer = Buffer.alloc(0)
  #refused: Outcome | undefined = undefined
  #error: Error | undefined = undefined
  #ours = false
  #hasEnded = false

  /** Opens it. `user` hears of success or failure later, never synchronously. */
  constructor(owner: ConnectionOwner, setup: ConnectionSetup, user: ConnectionUser) {
    this.endpoint = owner.endpoint
    this.#owner = owner
    this.#setup = setup
    this.#user = user
    this.#dial = new Dial(this, setup, [TCP_ALPN])
  }

  get socket(): Socket {
    return this.#dial.socket
  }

  get connecting(): ConnectSpan {
    return this.#dial.connecting
  }

  /** Hands everything that arrives to `reader`. */
  attach(reader: ConnectionReader): void {
    this.#reader = reader
    if (this.isClosed) {
      reader.closed(this.#error)
      return
    }
    this.socket.on('data', (chunk: Buffer) => this.#data(chunk))
    this.socket.once('end', () => {
      this.#hasEnded = true
      this.#user?.peerEnded?.()
      reader.ended()
    })
    this.socket.resume()
  }

  write(chunk: Uint8Array, done: (error?: Error | null) => void): void {
    this.awaits = true
    this.bytesWritten += chunk.length
    this.socket.write(chunk, done)
  }

  /** Until it is closed, it counts as load of its endpoint. */
  hold(): void {
    if (this.#held || this.isClosed) return
    this.#held = true
    this.endpoint.pending += 1
  }

  /** Closes it at once. */
  destroy(): void {
    this.#ours = true
    this.#dial.close()
  }

  /** Closes it at once, because of its peer. */
  cut(cause: Error): void {
    this.#dial.cut(cause)
  }

  /** Counts what has moved since the last time. */
  account(): void {
    this.#meter?.moved(this.bytesRead, this.bytesWritten)
  }

  // The dial's answers.

  opened({ socket, peer }: Dial, chosen: string | undefined): void {
    // The caller's side decides what an end of the peer means.
    socket.allowHalfOpen = true
    this.peer = peer
    this.endsAt = peer?.endsAt ?? Number.POSITIVE_INFINITY
    if (chosen !== TCP_ALPN) {
      this.#open()
      return
    }
    socket.on('data', this.#greet)
    socket.once('end', this.#endsWithoutGreeting)
  }

  failed(_dial: Dial, { code, cause }: DialFailure): void {
    const user = this.#user
    this.#user = undefined
    this.isClosed = true
    this.#owner.closed(this)
    user?.failed(this.#refused ?? outcome('refused', code, cause))
  }

  readonly #endsWithoutGreeting = (): void => {
    this.socket.destroy(new Error('the connection ended before it was admitted'))
  }

  readonly #greet = (chunk: Buffer): void => {
    const bytes = this.#greeting.length === 0 ? chunk : Buffer.concat([this.#greeting, chunk])
    const greeting = readGreeting(bytes)
    if (greeting === undefined) {
      this.#greeting = bytes
      return
    }
    const { socket } = this
    socket.off('data', this.#greet)
    socket.off('end', this.#endsWithoutGreeting)
    socket.pause()
    if (greeting === 'malformed') this.#refuse(refusedOutcome(undefined))
    else if (greeting.refused !== undefined) this.#refuse(refusedOutcome(greeting.refused))
    else {
      if (bytes.length > greeting.length) socket.unshift(bytes.subarray(greeting.length))
      this.#open()
    }
  }

  #refuse(refused: Outcome): void {
    this.#refused = refused
    if (refused.code === 'identity-rejected') this.#dial.report(refused.cause as IdentityRefusal)
    this.#dial.close()
  }

  #open(): void {
    const { clock, metrics } = this.#setup
    this.#dial.established()
    this.socket.on('error', (error) => {
      this.#error ??= error
    })
    this.socket.once('close', () => this.#closed())
    this.isOpen = true
    this.#meter = metrics?.opened(this.endpoint.service, clock.now())
    this.#owner.opened(this)
    this.#user!.opened(this)
  }

  #data(chunk: Buffer): void {
    if (this.bytesRead === 0) this.#user?.heard?.()
    this.bytesRead += chunk.length
    this.awaits = false
    if (!this.#reader!.data(chunk)) this.socket.pause()
  }

  #closed(): void {
    const user = this.#user
    this.#user = undefined
    this.isClosed = true
    this.#owner.closed(this)
    if (this.#held) this.endpoint.pending -= 1
    this.#held = false
    // Ended by both sides, or by ours alone.
    const lost = this.#error ?? (this.#hasEnded || this.#ours ? undefined : new Error('the connection closed'))
    this.account()
    this.#meter?.closed(lost === undefined ? 'ok' : 'connection-lost', this.#setup.clock.now())
    this.#meter = undefined
    user?.closed?.(lost, this.#ours)
    this.#reader?.closed(lost)
  }
}
