/**
 * One attempt of an upgrade, on a dedicated connection. Any answer but 101 is handled as that of
 * an ordinary call.
 *
 * - written -> open: the peer has agreed; no other attempt follows, and no timer runs
 * - open -> over: the connection has closed
 */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Dispatcher } from 'undici'
import { outcome as makeOutcome, type Outcome, SUCCESS } from '../../../core/outcome.ts'
import { answerBegins } from '../../../resilience/execution.ts'
import { HttpAttempt } from '../attempt.ts'
import type { RequestPool } from '../connection-user.ts'
import type { ReceivedHeaders } from '../headers.ts'
import type { UpgradeCall } from './call.ts'
import { UpgradedSocket, type UpgradeEnd } from './socket.ts'

export class UpgradeAttempt extends HttpAttempt {
  declare readonly call: UpgradeCall
  #socket: UpgradedSocket | undefined = undefined

  override second(): UpgradeAttempt {
    return new UpgradeAttempt(this.call, this.resolve, this.reject, this.driven)
  }

  override get bytesSent(): number {
    return this.#socket?.sentBytes ?? super.bytesSent
  }

  override get bytesReceived(): number {
    return this.#socket?.receivedBytes ?? super.bytesReceived
  }

  override onRequestUpgrade(
    { rawHeaders }: Dispatcher.DispatchController,
    status: number,
    headers: ReceivedHeaders,
    socket: Duplex,
  ): void {
    if (this.over) {
      socket.destroy()
      return
    }
    const { call } = this
    const { clock } = call.stack
    this.status = status
    answerBegins(call.stack, this)
    this.commit(Number.POSITIVE_INFINITY)
    const agreed = typeof headers.upgrade === 'string' ? headers.upgrade : call.request.upgrade!
    this.#socket = call.inContext(() => new UpgradedSocket(socket as Socket, agreed, this, () => clock.now()))
    this.resolve(call.upgraded(status, headers, rawHeaders, this.#socket))
    this.forgetCaller()
  }

  /** Asks the peer to close it. */
  goAway(): void {
    this.#socket?.goAway()
  }

  /** Looks for a peer that has vanished. */
  sweep(now: number): void {
    this.#socket?.sweep(now)
  }

  /** What has the answer of a peer that does not agree may leave its body unread, as `ws` does. */
  override giveUp(cause: unknown): void {
    const { said } = this
    if (this.over || said === undefined) super.giveUp(cause)
    else {
      this.end(said)
      this.abort()
    }
  }

  override cancelBody(reason: unknown): void {
    this.giveUp(reason)
    super.cancelBody(reason)
  }

  socketClosed(end: UpgradeEnd, cause: Error | undefined): void {
    if (this.over) return
    if (end === 'complete') this.end(SUCCESS)
    else if (end === 'abandoned') this.end(makeOutcome('cancelled', 'cancelled', cause))
    else {
      const why = cause ?? new Error('the peer closed the connection without a close frame')
      this.end(makeOutcome('failure', 'connection-lost', why, this.status))
    }
  }

  protected override get pool(): RequestPool {
    return super.pool.upgrades
  }

  protected override conclude(outcome: Outcome): void {
    const socket = this.#socket
    if (socket === undefined) {
      super.conclude(outcome)
      return
    }
    this.call.finish()
    if (outcome !== SUCCESS) socket.fail(this.call.failure(outcome))
  }

  protected override abort(): void {
    if (this.#socket === undefined) super.abort()
    else this.#socket.destroy()
  }
}
