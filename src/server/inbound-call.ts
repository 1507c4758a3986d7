/** A call as its server sees it: who asks, proven, and how often it was tried before. Both doors make it; `currentCall` shows it. */
import { Call, type Route } from '../core/call.ts'
import type { Clock } from '../core/clock.ts'

/** Who calls, proven by its certificate. */
export interface CallerIdentity {
  readonly spiffeId: string
  /** `undefined` for an identity that is no service. */
  readonly service: string | undefined
}

/** A call that is being served, by either door. */
export class InboundCall extends Call {
  readonly clock: Clock
  /** `undefined`: the caller has shown no certificate (`permissive` and `plaintext` servers only). */
  readonly caller: CallerIdentity | undefined

  constructor(route: Route, clock: Clock, startedAt: number, deadlineAt: number, caller: CallerIdentity | undefined) {
    super(route, startedAt, deadlineAt, undefined)
    this.clock = clock
    this.caller = caller
    this.peer = caller?.service
  }
}
