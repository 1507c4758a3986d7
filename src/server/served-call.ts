/**
 * One call on a server, from admission to its end: what HTTP and gRPC share. Every way to end leads
 * to {@link ServedCall.finish}, exactly once.
 *
 * - `authorizing` → `running`: admitted
 * - `authorizing` → ended: refused, the deadline passed, the caller left, or the drain ran out
 * - `running` → ended: answered, or given up
 */
import type { EventEmitter } from 'node:events'
import { Attempt } from '../core/attempt.ts'
import type { CallKind } from '../core/call.ts'
import type { CallDetails } from '../core/call-details.ts'
import type { Clock } from '../core/clock.ts'
import type { ErrorCode, MeshError } from '../core/errors.ts'
import { type Outcome, outcome } from '../core/outcome.ts'
import { MUX, type TransportName } from '../core/transport.ts'
import type { OverrideProofs } from '../identity/override-proofs.ts'
import { endAttempt, endCall, startCall } from '../resilience/execution.ts'
import type { Faultable, FaultRule } from '../resilience/fault-injection.ts'
import type { Stack } from '../resilience/stack.ts'
import type { EventSink } from '../telemetry/events.ts'
import type { ServedCounts } from '../telemetry/traffic/served-counts.ts'
import { admit, deniedMessage, withoutLimits } from './admission.ts'
import { type Authorizer, authorize, type Decision, type RequestHead } from './authorization/authorizer.ts'
import type { Connection } from './connection.ts'
import type { DeadlineSweep, Expirable } from './deadline-sweep.ts'
import type { InFlight, ListLink } from './in-flight.ts'
import { InboundCall, type RunInSpan } from './inbound-call.ts'
import { inboundFault } from './inbound-fault.ts'
import type { AbandonedCall, Answered, AnswerLoad, ServerLoad } from './server-load.ts'

/** What a server provides to each of its calls. */
export interface ServedCallHost {
  readonly service: string
  readonly clock: Clock
  readonly events: EventSink
  /** May be replaced while serving, like the stack. */
  authorizer: Authorizer
  stack: Stack
  /** From code; those of the policy document are in the stack. */
  readonly faults: readonly FaultRule[]
  readonly overrideProofs: OverrideProofs | undefined
  readonly running: InFlight<ServedCall>
  readonly deadlines: DeadlineSweep
  readonly load: ServerLoad
  /** For the registry. */
  readonly served: ServedCounts | undefined
  /** Its connections carry no certificates. */
  readonly isPlaintext: boolean
  readonly runInSpan: RunInSpan | undefined
  handlerFailed(error: unknown, method: string, path?: string): void
  callEnded(): void
}

/** For calls that need no intention. */
const EXEMPT: Decision = Object.freeze({ allowed: true, rule: 'exempt' })

export abstract class ServedCall extends InboundCall implements Answered, Expirable, Faultable, ListLink<ServedCall> {
  readonly connection: Connection
  protected readonly attempt: Attempt
  /** What we decided, if the call does not end as its answer says. */
  protected verdict: Outcome | undefined = undefined
  protected stack: Stack
  dueAt: number
  listed = false
  previous: ServedCall | undefined = undefined
  next: ServedCall | undefined = undefined
  readonly #host: ServedCallHost
  /** Others in flight at its arrival; -1: it is not counted. */
  #others = -1
  /** A health check, which needs no intention. */
  #exempt = false
  #abandoned: AbandonedCall | undefined = undefined
  /** Resolves the admission that waits for a decision. */
  #authorizing: ((admitted: boolean) => void) | undefined = undefined

  constructor(
    host: ServedCallHost,
    connection: Connection,
    kind: CallKind,
    startedAt: number,
    deadlineAt: number,
    dueAt: number,
  ) {
    super(kind, host.clock, startedAt, deadlineAt, connection.caller)
    this.connection = connection
    this.stack = host.stack
    this.dueAt = dueAt
    this.#host = host
    this.attempt = new Attempt(this)
    this.attempt.transport = connection.transport
  }

  override get transport(): TransportName | undefined {
    return this.connection.transport
  }

  /** Without certificates, some callers may be of the mesh. */
  override get outside(): boolean {
    return this.peer === undefined && !(this.#host.isPlaintext && this.mayBeOfMesh)
  }

  override get servedBy(): ServedCounts | undefined {
    return this.#exempt ? undefined : this.#host.served
  }

  protected get mayBeOfMesh(): boolean {
    return this.fromMesh || this.transport === MUX
  }

  override details(_decisive?: Attempt): CallDetails {
    const { attempt, connection, transport } = this
    const peerAddress = connection.address
    return { ...super.details(attempt), transport, peerAddress }
  }

  /** Its caller is a client of the mesh, as far as we can tell. */
  get fromMesh(): boolean {
    return false
  }

  get orcaForm(): 'text' | 'binary' {
    return 'text'
  }

  /** Emits `close` when the answer is over or the caller has left. */
  protected abstract get answer(): EventEmitter
  /** Answers in place of a handler that has not run, and ends the call. */
  protected abstract refuse(code: ErrorCode, message: string): void
  protected abstract handle(): void
  /** `fault` was drawn for this call, and its delay has passed. */
  protected abstract injectFault(fault: FaultRule): void
  /** The deadline has passed, or a check of the peer is due. */
  protected abstract deadlineDue(now: number): void
  /** The server has no more time for this call. */
  protected abstract giveUp(cause: MeshError): void
  /** How the call ended, for its attempt; `undefined`: the caller left. */
  protected abstract ending(): Outcome | undefined
  protected ended(): void {}

  /** Takes over what the caller asks for the calls of this request. */
  protected takeOverrides(text: string, proof: string | undefined): void {
    const { overrideProofs, events } = this.#host
    this.overrides = overrideProofs?.receive(text, proof, this.peer, (reason) =>
      events.emit('override:refused', { ...(this.peer !== undefined && { peer: this.peer }), reason }),
    )
  }

  abstract override header(name: string): string | undefined

  /**
   * Asks everything that precedes the handler. False: the call has been answered. `exempt`: needs
   * neither an intention nor a permit.
   */
  admit(head: RequestHead, exempt = false): boolean | Promise<boolean> {
    if (exempt) {
      this.#exempt = true
      this.stack = withoutLimits(this.stack)
    }
    startCall(this.stack, this)
    const decision = exempt ? EXEMPT : authorize(this.#host, this, head)
    if (decision instanceof Promise) return this.#admitLater(head, decision)
    return this.#decided(head, decision, this.startedAt)
  }

  /** Until the decision the call is in flight, and its deadline and its caller are watched. */
  #admitLater(head: RequestHead, pending: Promise<Decision>): Promise<boolean> {
    const closed = (): void => this.finish()
    this.#enter()
    this.#host.deadlines.watch(this, this.startedAt)
    this.answer.once('close', closed)
    return new Promise((resolve) => {
      this.#authorizing = resolve
      void pending.then((decision) => {
        this.answer.off('close', closed)
        if (this.#authorizing === undefined) return
        this.#authorizing = undefined
        this.#leave()
        const admitted = this.#decided(head, decision, this.clock.now())
        if (!admitted) this.#ended()
        resolve(admitted)
      })
    })
  }

  #decided(head: RequestHead, decision: Decision, now: number): boolean {
    const refused = admit(this.#host, this.stack, this, this.attempt, this.connection, head, decision, now)
    if (refused === undefined) {
      this.#enter()
      if (decision !== EXEMPT) this.#others = this.#host.load.arrived(now)
    } else this.refuse(refused.code, refused.message)
    return refused === undefined
  }

  #enter(): void {
    this.#host.running.add(this)
    this.connection.inFlight += 1
  }

  /** Whether it was in flight. */
  #leave(): boolean {
    if (!this.#host.running.delete(this)) return false
    this.connection.inFlight -= 1
    return true
  }

  /** Runs the handler, or the fault that is drawn for this call. */
  protected startHandler(answer: 'status' | 'grpcStatus'): void {
    this.#host.deadlines.watch(this, this.startedAt)
    const fault = inboundFault(this, this.#host, this.stack.faults, answer)
    if (fault === undefined) this.handle()
    else if (fault.delayMs === 0) this.injectFault(fault)
    else this.clock.startBackgroundTimer(fault.delayMs, (call) => call.injectFault(fault), this as ServedCall)
  }

  /**
   * The answer is there, a good one or not. Returns what is reported with it; `undefined`: nothing
   * is.
   */
  protected answers(good: boolean): AnswerLoad | undefined {
    if (this.#others < 0) return undefined
    const { load } = this.#host
    const now = this.clock.now()
    const servedMs = load.servedMs(this.startedAt, now)
    const report = load.answer(this, servedMs, now)
    if (good) load.answered(this.#others, servedMs)
    return report
  }

  /** The same for a stream, whose time tells nothing. */
  protected answersStream(): AnswerLoad | undefined {
    return this.#others < 0 ? undefined : this.#host.load.answerStream(this, this.clock.now())
  }

  protected handlerDone(): void {
    this.handled = true
    if (this.#abandoned !== undefined) this.#host.load.handlerDone(this.#abandoned)
  }

  /** It is in flight no longer, unless its handler works on in vain. */
  #unload(failed: boolean): void {
    const { load } = this.#host
    if (this.cancelled && !this.handled) this.#abandoned = load.abandoned()
    else load.ended(failed)
  }

  /** The call is over, well or not. */
  finish(): void {
    if (!this.#leave()) return
    const authorizing = this.#authorizing
    const ending = authorizing === undefined ? this.ending() : undefined
    const cause = ending === undefined ? this.callerGone() : undefined
    if (cause !== undefined) this.cancel(cause)
    const ended = ending ?? outcome('cancelled', 'cancelled', cause)
    if (this.#others >= 0) this.#unload(ended.verdict === 'failure')
    if (authorizing === undefined) endAttempt(this.stack, this.attempt, ended)
    else endCall(this.stack, this, ended)
    this.#ended()
  }

  #ended(): void {
    const authorizing = this.#authorizing
    if (authorizing !== undefined) {
      this.#authorizing = undefined
      this.handled = true
      authorizing(false)
    }
    this.#host.callEnded()
    this.ended()
  }

  expire(): void {
    this.dueAt = Number.POSITIVE_INFINITY
    if (this.#authorizing !== undefined) this.#refuseUnauthorized(this.deadlinePassed())
    else this.deadlineDue(this.clock.now())
  }

  /** The drain has run out of time. */
  abandon(): void {
    const cause = this.drainOver()
    if (this.#authorizing !== undefined) this.#refuseUnauthorized(cause)
    else this.giveUp(cause)
  }

  /** The caller was denied. */
  deny(): void {
    const cause = this.reason('identity-rejected', deniedMessage(this.connection))
    if (this.#authorizing !== undefined) this.#refuseUnauthorized(cause)
    else this.giveUp(cause)
  }

  /** The authorizer has not decided in time, or its decision does not matter any more. */
  #refuseUnauthorized(cause: MeshError): void {
    this.#leave()
    this.cancel(cause)
    this.refuse(cause.code, cause.message)
    this.#ended()
  }
}
