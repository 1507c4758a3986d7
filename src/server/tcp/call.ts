/**
 * One accepted connection as a call: admitted like a request, then its handler or target has the
 * socket. It is in flight as long as the connection is open.
 */
import type { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import type { CallKind } from '../../core/call.ts'
import type { CallDetails } from '../../core/call-details.ts'
import type { Timer } from '../../core/clock.ts'
import { type ErrorCode, type MeshError, reasonOf } from '../../core/errors.ts'
import { type Outcome, outcome, SUCCESS } from '../../core/outcome.ts'
import { CONNECT } from '../../core/protocol.ts'
import { identityRefusal } from '../../net/identity-refusal.ts'
import { OPEN, refusal } from '../../net/tcp-greeting.ts'
import { endCall } from '../../resilience/execution.ts'
import type { FaultRule } from '../../resilience/fault-injection.ts'
import type { TcpMeter } from '../../telemetry/tcp-metrics.ts'
import { tellDenied } from '../admission.ts'
import { type Authorizer, authorize, type RequestHead } from '../authorization/authorizer.ts'
import { guardEmitter, runUserCode, type UserCodeOwner } from '../guarded-emitter.ts'
import type { RefusalAnswer } from '../lingering-close.ts'
import { ServedCall, type ServedCallHost } from '../served-call.ts'
import type { TcpConnection } from './connection.ts'
import { forward, reset } from './forward.ts'
import type { TcpServerSettings } from './options.ts'
import { connectTo, labelOfTarget, type Target } from './target.ts'

/** Called for each connection, in its context. */
export type TcpHandler = (socket: Socket) => unknown

export interface TcpServerCallHost extends ServedCallHost {
  readonly kind: CallKind
  readonly settings: TcpServerSettings
  /** `undefined`: connections go to a target. */
  readonly handler: TcpHandler | undefined
  /** Sends a last answer and closes the connection within a bound. */
  linger(socket: Socket, answer: RefusalAnswer): void
  opened(peer: string | undefined): TcpMeter | undefined
}

/** Nothing of a connection is known but its caller. */
const HEAD: RequestHead = Object.freeze({ method: CONNECT, path: '', target: '', headers: Object.freeze({}) })

export class TcpServerCall extends ServedCall implements UserCodeOwner {
  declare readonly connection: TcpConnection
  readonly #host: TcpServerCallHost
  readonly #socket: Socket
  #target: Socket | undefined = undefined
  #connectTimer: Timer | undefined = undefined
  #isOpen = false
  #meter: TcpMeter | undefined = undefined
  #received = 0
  #sent = 0
  #movedAt: number
  /** The one that allowed it last. */
  #authorizer: Authorizer

  constructor(host: TcpServerCallHost, connection: TcpConnection) {
    const now = host.clock.now()
    super(host, connection, host.kind, now, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY)
    this.#host = host
    this.#socket = connection.socket
    this.#movedAt = now
    this.#authorizer = host.authorizer
  }

  /** Its bytes do not say. */
  protected override get mayBeOfMesh(): boolean {
    return true
  }

  override details(): CallDetails {
    if (this.#isOpen) this.#hasMoved()
    return { ...super.details(), bytesSent: this.#sent, bytesReceived: this.#received }
  }

  /** Admits it, and hands the socket to its handler or target. */
  serve(): void {
    this.#socket.once('close', () => this.finish())
    const admitted = this.admit(HEAD)
    if (admitted === true) this.startHandler('status')
    else if (admitted !== false) {
      void admitted.then((allowed) => {
        if (allowed) this.startHandler('status')
      })
    }
  }

  header(): undefined {
    return undefined
  }

  /** Counts what has moved, and ends a connection that was revoked or idle for too long. */
  look(now: number): void {
    if (!this.#isOpen) return
    if (this.#isRevoked()) {
      this.verdict ??= outcome('cancelled', 'permission-denied', new Error('no intention allows it any more'))
      reset(this.#socket)
    } else if (this.#hasMoved()) this.#movedAt = now
    else if (now - this.#movedAt >= this.#host.settings.idleTimeoutMs && this.verdict === undefined) {
      this.verdict = outcome('cancelled', 'cancelled', new Error('the connection was idle'))
      this.#end()
    }
  }

  /** User code threw, or its promise rejected. */
  userCodeFailed(error: unknown): void {
    this.#host.handlerFailed(error, CONNECT)
    this.verdict ??= outcome('failure', 'server-error', error)
    reset(this.#socket)
  }

  protected get answer(): EventEmitter {
    return this.#socket
  }

  protected refuse(code: ErrorCode): void {
    // Of a call that was not admitted; the others end with their connection.
    if (!this.listed) endCall(this.stack, this, outcome('refused', code))
    if (this.#socket.destroyed) return
    const text = this.connection.denied ? identityRefusal('denied') : code
    if (this.connection.greets) this.#host.linger(this.#socket, { last: refusal(text) })
    else reset(this.#socket)
  }

  protected handle(): void {
    if (this.settled || this.#socket.destroyed) return
    const { handler, settings } = this.#host
    if (settings.target !== undefined) this.#connect(settings.target)
    else {
      this.#socket.allowHalfOpen = settings.allowHalfOpen
      this.#open()
      guardEmitter(this.#socket, this)
      runUserCode(this, () => handler!(this.#socket))
    }
  }

  protected injectFault({ status }: FaultRule): void {
    if (status === undefined) this.handle()
    else if (!this.settled) this.#fail('overloaded', new Error(`injected fault: status ${status}`))
  }

  /** Connections have no deadline. */
  protected deadlineDue(): void {}

  protected giveUp(cause: MeshError): void {
    this.verdict ??= outcome('cancelled', cause.code, cause)
    this.cancel(cause)
    if (this.#isOpen) this.#end()
    else this.refuse(cause.code)
  }

  protected ending(): Outcome | undefined {
    if (this.verdict !== undefined) return this.verdict
    const isLost = !this.#isOpen || (this.#socket.errored !== null && this.#socket.errored !== undefined)
    return isLost ? undefined : SUCCESS
  }

  protected override ended(): void {
    this.handlerDone()
    this.#stopConnecting()
    if (!this.#isOpen) {
      this.#target?.destroy()
      return
    }
    this.#hasMoved()
    const end = this.outcome
    const code = end === undefined || end.verdict === 'success' ? 'ok' : (end.code ?? end.verdict)
    this.#meter?.closed(this.verdict === undefined && code !== 'ok' ? 'connection-lost' : code, this.clock.now())
    this.#meter = undefined
  }

  #connect(to: Target): void {
    const { clock, settings, events } = this.#host
    const target = connectTo(to)
    this.#target = target
    const failed = (error: Error): void => {
      if (this.#isOpen || this.settled || this.verdict !== undefined) return
      this.#stopConnecting()
      target.destroy()
      events.emit('target:unreachable', { target: labelOfTarget(to), reason: reasonOf(error) })
      this.#fail('connect-failed', error)
    }
    target.on('error', failed)
    target.once('connect', () => {
      this.#stopConnecting()
      if (this.#socket.destroyed || this.settled || this.verdict !== undefined) {
        target.destroy()
        return
      }
      this.#open()
      forward(this.#socket, target, (error) => {
        this.verdict ??= outcome('failure', 'connection-lost', error)
      })
    })
    const late = (): void => failed(new Error(`no connection within ${settings.connectTimeoutMs} ms`))
    this.#connectTimer = clock.startTimer(settings.connectTimeoutMs, late, undefined)
  }

  #stopConnecting(): void {
    if (this.#connectTimer !== undefined) this.#host.clock.stopTimer(this.#connectTimer)
    this.#connectTimer = undefined
  }

  /** Admitted, and not open: nothing was executed. */
  #fail(code: ErrorCode, cause: Error): void {
    this.verdict = outcome('failure', code, cause)
    this.refuse(code)
  }

  #open(): void {
    if (this.connection.greets) this.#socket.write(OPEN)
    this.#isOpen = true
    this.#movedAt = this.clock.now()
    this.#meter = this.#host.opened(this.peer)
  }

  /** Whether intentions have changed, and do not allow it any more. */
  #isRevoked(): boolean {
    const host = this.#host
    if (host.authorizer === this.#authorizer) return false
    this.#authorizer = host.authorizer
    const decision = authorize(host, this, HEAD)
    if (decision instanceof Promise || decision.allowed) return false
    tellDenied(host.events, this, HEAD, decision)
    return true
  }

  /** Whether there are more bytes than the last time. */
  #hasMoved(): boolean {
    const received = this.#socket.bytesRead
    const sent = Math.max(0, this.#socket.bytesWritten - (this.connection.greets ? OPEN.length : 0))
    const more = received !== this.#received || sent !== this.#sent
    this.#received = received
    this.#sent = sent
    this.#meter?.moved(received, sent)
    return more
  }

  /** What has been written is sent. */
  #end(): void {
    this.#socket.destroySoon()
    this.#target?.destroySoon()
  }
}
