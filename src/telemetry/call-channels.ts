/**
 * Calls and attempts on `node:diagnostics_channel`, for `inmesh call` and INMESH_DEBUG. Without a
 * subscriber each costs one comparison.
 */
import { type Channel, channel } from 'node:diagnostics_channel'
import type { Attempt } from '../core/attempt.ts'
import type { Call } from '../core/call.ts'
import type { Clock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import type { Outcome, Verdict } from '../core/outcome.ts'
import { FINAL } from '../resilience/retry.ts'
import { safeText } from './access-log/safe-text.ts'
import { type Side, UNKNOWN_PEER } from './call-metrics.ts'
import type { TappedCall } from './tap/tap-message.ts'
import { tappedCall } from './tap/tapped-call.ts'

const LONGEST_REASON = 256

/** One attempt of a call that this process makes, as it begins. */
export interface AttemptStarted {
  /** Our own. */
  readonly service: string
  /** Wall clock, ms since 1970. */
  readonly at: number
  /** The service of the endpoint. */
  readonly peer: string
  readonly protocol: string
  readonly method: string
  /** 1 for the first. */
  readonly attempt: number
  /** `address:port`. */
  readonly endpoint?: string
  readonly version?: string
  readonly zone?: string
  /** It runs beside a late one. */
  readonly hedge?: true
  readonly route?: string
  readonly trace?: string
}

/** The same attempt at its end. */
export interface AttemptEnded extends AttemptStarted {
  readonly verdict: Verdict
  readonly code?: string
  /** HTTP or gRPC status. */
  readonly status?: number
  readonly durationMs: number
  /** Waited for a place on a connection, and for that connection; absent: it never had one. */
  readonly queueMs?: number
  readonly connectMs?: number
  readonly transport?: string
  /** Why it failed, in words. */
  readonly reason?: string
  /** Another attempt follows after this wait. */
  readonly retryInMs?: number
}

/** A call that has ended, made (`client`) or served (`server`) by this process. */
export interface CallEnded extends Omit<TappedCall, 'to' | 'side'> {
  readonly service: string
  readonly side: Side
  /** The called service; of a served call, the caller's, or `unknown` without an identity. */
  readonly peer: string
  readonly verdict: Verdict
  readonly reason?: string
}

export const ATTEMPT_STARTED: Channel = channel('inmesh:attempt:started')
export const ATTEMPT_ENDED: Channel = channel('inmesh:attempt:ended')
export const CALL_ENDED: Channel = channel('inmesh:call:ended')

export class CallChannels {
  readonly #side: Side
  readonly #service: string
  readonly #clock: Clock
  /** It has just ended its call, which is notified next. */
  #decisive: Attempt | undefined

  constructor(side: Side, service: string, clock: Clock) {
    this.#side = side
    this.#service = service
    this.#clock = clock
  }

  attemptStarted(attempt: Attempt): void {
    if (this.#side === 'client') ATTEMPT_STARTED.publish(this.#started(attempt))
  }

  attemptEnded(attempt: Attempt, outcome: Outcome, waitMs: number): void {
    if (waitMs === FINAL) this.#decisive = attempt
    if (this.#side === 'server' || !ATTEMPT_ENDED.hasSubscribers) return
    const { startedAt, connectedAt, connecting, transport, status } = attempt
    const connectMs = connecting?.msSince(startedAt) ?? 0
    const shown = outcome.status ?? (status > 0 ? status : undefined)
    const ended: AttemptEnded = {
      ...this.#started(attempt),
      ...judged(outcome),
      ...(shown !== undefined && { status: shown }),
      durationMs: rounded((attempt.endedAt || this.#clock.now()) - startedAt),
      ...(connectedAt > 0 && {
        queueMs: rounded(connectedAt - startedAt - connectMs),
        connectMs: rounded(connectMs),
      }),
      ...(transport !== undefined && { transport }),
      ...(waitMs >= 0 && { retryInMs: rounded(waitMs) }),
    }
    ATTEMPT_ENDED.publish(ended)
  }

  callEnded(call: Call, outcome: Outcome, endedAt: number): void {
    const decisive = this.#decisive?.call === call ? this.#decisive : undefined
    this.#decisive = undefined
    if (!CALL_ENDED.hasSubscribers) return
    const side = this.#side
    const details = call.details(decisive)
    const ended = { side, call, outcome, details, decisive, endedAt, at: this.#clock.wallNow() }
    const { to, side: _, ...shown } = tappedCall(ended, [])
    const peer = side === 'server' ? (call.peer ?? UNKNOWN_PEER) : to
    CALL_ENDED.publish({ service: this.#service, ...shown, side, peer, ...judged(outcome) } satisfies CallEnded)
  }

  #started(attempt: Attempt): AttemptStarted {
    const { call, endpoint, number, hedge } = attempt
    const { kind, routed, trace } = call
    return {
      service: this.#service,
      at: this.#clock.wallNow(),
      peer: endpoint?.service ?? kind.service,
      protocol: kind.protocol,
      method: kind.method,
      attempt: number + 1,
      ...(endpoint !== undefined && { endpoint: endpoint.label }),
      ...(endpoint?.version !== undefined && { version: endpoint.version }),
      ...(endpoint?.zone !== undefined && { zone: endpoint.zone }),
      ...(hedge && { hedge: true as const }),
      ...(routed !== undefined && routed.name !== '' && { route: routed.name }),
      ...(trace !== undefined && { trace: trace.traceId }),
    }
  }
}

function judged({ verdict, code, cause }: Outcome): Pick<AttemptEnded, 'verdict' | 'code' | 'reason'> {
  const reason = messageOf(cause)
  return {
    verdict,
    ...(code !== undefined && { code }),
    ...(reason !== undefined && reason !== '' && { reason: safeText(reason, LONGEST_REASON) }),
  }
}

/** In ms to the µs. */
function rounded(ms: number): number {
  return Math.max(0, Math.round(ms * 1_000) / 1_000)
}
