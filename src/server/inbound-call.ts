/**
 * A call as its server sees it: who asks, proven, and how often it was tried before. Both doors
 * make it; `currentCall` shows it.
 */
import { Call, type Route } from '../core/call.ts'
import type { Clock } from '../core/clock.ts'
import { type ErrorCode, MeshError } from '../core/errors.ts'

/** Who calls, proven by its certificate. */
export interface CallerIdentity {
  readonly spiffeId: string
  /** `undefined` for an identity that is no service. */
  readonly service: string | undefined
}

/** Runs a handler in the span of its call. */
export type RunInSpan = <T>(call: Call, work: () => T) => T

/** A handler that was given up and never says that it has ended counts as ended after this time. */
const LETS_GO_MS = 5_000

/** A call that is being served, by either door. */
export class InboundCall extends Call {
  readonly clock: Clock
  /**
   * `undefined`: the caller has shown no certificate (`permissive` and `plaintext` servers only).
   */
  readonly caller: CallerIdentity | undefined
  /** The handler has done what it had to do, as far as the door can tell. */
  protected handled = false
  #letsGoAt = Number.POSITIVE_INFINITY

  constructor(route: Route, clock: Clock, startedAt: number, deadlineAt: number, caller: CallerIdentity | undefined) {
    super(route, startedAt, deadlineAt, undefined)
    this.clock = clock
    this.caller = caller
    this.peer = caller?.service
  }

  /**
   * An answered request binds nothing more. One that was given up binds its handler, which must not
   * go on in vain.
   */
  override get over(): boolean {
    if (!this.settled) return false
    return !this.cancelled || this.handled || this.clock.now() >= this.#letsGoAt
  }

  override cancel(cause: unknown): void {
    if (!this.cancelled) this.#letsGoAt = this.clock.now() + LETS_GO_MS
    super.cancel(cause)
  }

  /** Why it ends, as its handler and observers are told. */
  protected reason(code: ErrorCode, message: string): MeshError {
    const { service, method } = this.route
    return new MeshError(message, { code, service, method, elapsedMs: this.clock.now() - this.startedAt })
  }

  protected callerGone(): MeshError {
    return this.reason('cancelled', 'The caller went away before the answer was complete.')
  }

  protected drainOver(): MeshError {
    return this.reason('closed', `'${this.route.service}' is going away and its drain has run out of time.`)
  }

  protected deadlinePassed(): MeshError {
    const elapsedMs = Math.round(this.clock.now() - this.startedAt)
    return this.reason('deadline-exceeded', `The deadline of this call passed after ${elapsedMs} ms.`)
  }
}
