/** What the machine tells observers. Observers watch and never decide; none may throw. */
import type { Attempt } from './attempt.ts'
import type { Call } from './call.ts'
import type { Outcome } from './outcome.ts'

/**
 * Watches the calls of one side (client or server). Every method is called synchronously on the hot
 * path.
 */
export interface Telemetry {
  /** Before anything else; may set `call.trace`. */
  callStarted(call: Call): void
  /** A route was chosen after the call had started: it waited for the policy of its service. */
  callRouted?(call: Call): void
  /** After the endpoint was chosen and all policies admitted it. */
  attemptStarted(attempt: Attempt): void
  /** `waitMs` >= 0: another attempt follows after it. */
  attemptEnded(attempt: Attempt, outcome: Outcome, waitMs: number): void
  /** Exactly once per call. */
  callEnded(call: Call, outcome: Outcome): void
  /** Whether somebody will ask how many bytes a response has. */
  readonly wantsBytes?: boolean
  /**
   * A connection that a call had opened with success has closed. Once for each such call, whose
   * decisive attempt it was.
   */
  connectionEnded?(attempt: Attempt, outcome: Outcome): void
  /** For clients; without it, mirrors are sent and not counted. */
  readonly mirrors?: MirrorTelemetry | undefined
}

/** A mirror of a route: the service that gets the copies, and the route's name. */
export interface Mirrored {
  readonly peer: string
  readonly route: string
}

/** Watches the copies of calls, which are never counted with the calls. */
export interface MirrorTelemetry {
  /** A copy of `of` is about to be sent; may set `mirror.trace`. */
  mirrorStarted(mirrored: Mirrored, mirror: Attempt, of: Call): void
  /** Exactly once for each that started. */
  mirrorEnded(mirrored: Mirrored, mirror: Attempt, outcome: Outcome): void
  /** A call that was drawn for a mirror was not copied. */
  mirrorDropped(mirrored: Mirrored, reason: string): void
}

/** Watches nothing. */
export const SILENT: Telemetry = Object.freeze({
  callStarted() {},
  attemptStarted() {},
  attemptEnded() {},
  callEnded() {},
})
