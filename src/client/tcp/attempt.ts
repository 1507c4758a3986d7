/**
 * One try to connect. It has succeeded once the connection has proven itself: the peer has sent a
 * byte, or has kept it open for a moment. A connection that is lost before is a failure of its
 * endpoint, but the caller has it, so no other attempt follows.
 */
import type { Timer } from '../../core/clock.ts'
import { outcome as makeOutcome, type Outcome, SUCCESS } from '../../core/outcome.ts'
import { TCP_ALPN } from '../../net/tcp-greeting.ts'
import { answerBegins } from '../../resilience/execution.ts'
import { ClientAttempt } from '../attempt.ts'
import type { TcpCall } from './call.ts'
import type { ConnectionUser, TcpConnection } from './connection.ts'

/** A target that is down closes within milliseconds; a caller that only connects waits for it. */
const PROVEN_MS = 1_000

export class TcpAttempt extends ClientAttempt implements ConnectionUser {
  declare readonly call: TcpCall
  #connection: TcpConnection | undefined = undefined
  #proving: Timer | undefined = undefined

  second(): TcpAttempt {
    return new TcpAttempt(this.call, this.resolve, this.reject, this.driven)
  }

  dialing(connection: TcpConnection): void {
    this.#connection = connection
    this.peerWaits(false)
  }

  opened(connection: TcpConnection): void {
    const { clock } = this.call.stack
    if (this.over) {
      connection.destroy()
      return
    }
    this.sent = true
    this.connectedAt = clock.now()
    this.connecting = connection.connecting
    this.transport = TCP_ALPN
    answerBegins(this.call.stack, this)
    this.commit(Number.POSITIVE_INFINITY)
    this.#proving = clock.startBackgroundTimer(PROVEN_MS, prove, this)
    this.resolve(connection)
  }

  failed(outcome: Outcome): void {
    if (!this.over) this.end(outcome)
  }

  heard(): void {
    if (!this.over) this.end(SUCCESS)
  }

  /** A peer that ends first, without a byte, has not served. */
  peerEnded(): void {
    if (this.over) return
    if (this.call.ended) this.end(SUCCESS)
    else this.end(makeOutcome('failure', 'connection-lost', new Error('the peer ended it without a byte')))
  }

  closed(error: Error | undefined, ours: boolean): void {
    if (this.over) {
      this.#ended(error)
      return
    }
    const isCancelled = error === undefined && ours
    this.end(isCancelled ? makeOutcome('cancelled', 'cancelled') : makeOutcome('failure', 'connection-lost', error))
  }

  /** Of a connection that had proven itself. */
  #ended(error: Error | undefined): void {
    const { outcome, stack } = this.call
    if (outcome?.verdict !== 'success') return
    const end = error === undefined ? SUCCESS : makeOutcome('failure', 'connection-lost', error)
    stack.telemetry.connectionEnded?.(this, end)
  }

  override get bytesSent(): number {
    return this.#connection?.bytesWritten ?? 0
  }

  override get bytesReceived(): number {
    return this.#connection?.bytesRead ?? 0
  }

  protected connect(): void {
    // Its turn comes at once, unless many connect.
    this.peerWaits(true)
    this.call.transport.poolOf(this.endpoint!).take(this)
  }

  protected leaveQueue(): void {
    this.call.transport.poolOf(this.endpoint!).leave(this)
  }

  protected abort(): void {
    this.#connection?.destroy()
  }

  /** Before its turn it was not asked for. */
  protected get reachable(): boolean {
    return this.#connection === undefined
  }

  protected superseded(): void {}

  protected override end(outcome: Outcome): void {
    if (this.#proving !== undefined) this.call.stack.clock.stopTimer(this.#proving)
    this.#proving = undefined
    // The connection is load as long as it is open; the attempt ends here.
    if (outcome.verdict === 'success') this.#connection?.hold()
    super.end(outcome)
  }

  protected conclude(outcome: Outcome): void {
    const { call } = this
    call.finish()
    // Of an open connection, the caller hears by the connection itself.
    if (!this.sent) this.reject(call.failure(outcome))
  }

  protected get holdUp(): string {
    return 'many connections were opened at once'
  }
}

function prove(attempt: TcpAttempt): void {
  attempt.heard()
}
