/**
 * A call as its server sees it: the verified caller, and until when it bounds the calls that its
 * handler makes.
 */
import { Call, type CallKind } from '../core/call.ts'
import type { Clock } from '../core/clock.ts'
import { type ErrorCode, MeshError } from '../core/errors.ts'
import type { TransportName } from '../core/transport.ts'

/** The caller, verified by its certificate. */
export interface CallerIdentity {
  readonly spiffeId: string
  /** `undefined` if the identity is not a service. */
  readonly service: string | undefined
}

/** Runs a handler in the span of its call. */
export type RunInSpan = <T>(call: Call, work: () => T) => T

/** A cancelled handler that does not end counts as ended after this time. */
export const HANDLER_GRACE_MS = 5_000

export class InboundCall extends Call {
  readonly clock: Clock
  /** `undefined` without a certificate, which only `permissive` and `plaintext` servers accept. */
  readonly caller: CallerIdentity | undefined
  /** The handler has ended, as far as its protocol can tell. */
  protected handled = false
  #handlerGraceEndsAt = Number.POSITIVE_INFINITY

  constructor(kind: CallKind, clock: Clock, startedAt: number, deadlineAt: number, caller: CallerIdentity | undefined) {
    super(kind, startedAt, deadlineAt, undefined)
    this.clock = clock
    this.caller = caller
    this.peer = caller?.service
  }

  /** What carries it. Overridden where calls come by connections. */
  get transport(): TransportName | undefined {
    return undefined
  }

  /** An answered call binds no further calls. A cancelled one binds those of its handler. */
  override get over(): boolean {
    if (!this.settled) return false
    return !this.cancelled || this.handled || this.clock.now() >= this.#handlerGraceEndsAt
  }

  override cancel(cause: unknown): void {
    if (!this.cancelled) this.#handlerGraceEndsAt = this.clock.now() + HANDLER_GRACE_MS
    super.cancel(cause)
  }

  /** The reason for the end of the call, for its handler and observers. */
  protected reason(code: ErrorCode, message: string): MeshError {
    const { service, method } = this.kind
    return new MeshError(message, { code, service, method, elapsedMs: this.clock.now() - this.startedAt })
  }

  protected callerGone(): MeshError {
    return this.reason('cancelled', 'The caller went away before the answer was complete.')
  }

  protected drainOver(): MeshError {
    return this.reason('closed', `'${this.kind.service}' is going away and its drain has run out of time.`)
  }

  protected deadlinePassed(): MeshError {
    const elapsedMs = Math.round(this.clock.now() - this.startedAt)
    return this.reason('deadline-exceeded', `The deadline of this call passed after ${elapsedMs} ms.`)
  }
}
