/**
 * Decides which attempt may be repeated, and when. A call that may have been executed is repeated
 * only if it is idempotent; one that certainly was not executed may go to another endpoint.
 */
import type { Attempt } from '../core/attempt.ts'
import type { Call } from '../core/call.ts'
import type { Clock } from '../core/clock.ts'
import { LONGEST_DEADLINE_MS } from '../core/deadline.ts'
import type { Endpoint } from '../core/endpoint.ts'
import type { ErrorCode } from '../core/errors.ts'
import { type Outcome, wasLeftBehind } from '../core/outcome.ts'
import { GRPC_FAILURES, GRPC_STATUS, type GrpcFailure } from '../core/status.ts'
import { convert } from '../options/composed-fields.ts'
import { flag, list, oneOf, withDefault } from '../options/fields.ts'
import { grpcMethod } from '../options/names.ts'
import { duration, integer } from '../options/quantities.ts'
import { BACKOFF, backoffMs } from './backoff.ts'
import { definePolicy, type OptionsOf, type PolicyDefinition, type SettingsOf } from './define-policy.ts'
import { RETRY_BUDGET, type RetryBudget } from './retry-budget.ts'

const definition = definePolicy('retry', {
  /**
   * Attempts in all, the first included; 1 is no retry. Up to five that certainly were not executed
   * do not count. @defaultValue `3` (SRE book, chapter 21)
   */
  attempts: withDefault(integer({ min: 1, max: 10 }), 3),
  /**
   * Bound of one attempt while another may follow; not above `timeout`. The last one, and that of a
   * call that must not be repeated, has all the time that is left.
   * @defaultValue `'2s'`; functions: none
   */
  perTryTimeout: withDefault(duration({ min: 1, max: LONGEST_DEADLINE_MS }), '2s'),
  /**
   * Whether `perTryTimeout` bounds the last attempt, too, and that of a call that must not be
   * repeated. @defaultValue `false`
   */
  boundLastTry: withDefault(flag(), false),
  /** The wait before the next attempt; a peer's `retry-after` replaces it if longer. */
  backoff: withDefault(BACKOFF, {}),
  /**
   * HTTP statuses worth another attempt of an idempotent call; without effect for functions.
   * @defaultValue `[429, 502, 503, 504]`
   */
  statuses: withDefault(list(integer({ min: 400, max: 599 }), { max: 50 }), [429, 502, 503, 504]),
  /**
   * gRPC statuses worth another attempt of an idempotent call, whether they come at once or in the
   * trailers behind headers.
   * @defaultValue `['UNAVAILABLE', 'RESOURCE_EXHAUSTED']`
   */
  grpcStatuses: withDefault(convert(list(oneOf(GRPC_FAILURES), { max: GRPC_FAILURES.length }), numbersOf), [
    'UNAVAILABLE',
    'RESOURCE_EXHAUSTED',
  ]),
  /**
   * gRPC methods of which a second execution does no harm, `shop.Inventory/Get` or
   * `shop.Inventory/*`, besides those that say so in their `.proto` (`idempotency_level`).
   * @defaultValue `[]`
   */
  idempotent: withDefault(list(grpcMethod(), { max: 200 }), []),
  /** Bounds the retries of the whole service. */
  budget: withDefault(RETRY_BUDGET, {}),
})

/** Retries of one service or function. */
export interface RetryOptions extends OptionsOf<typeof definition> {}
/** With gRPC statuses by their numbers. */
export interface RetrySettings extends SettingsOf<typeof definition> {}
export const RETRY: PolicyDefinition<RetryOptions, RetrySettings> = definition

function numbersOf(names: readonly GrpcFailure[]): readonly number[] {
  return Object.freeze(names.map((name) => GRPC_STATUS[name]))
}

/** No further attempt. */
export const FINAL = -1

/**
 * Attempts that certainly were not executed do not count against the limit (gRFC A6), but something
 * must bound them when every endpoint refuses. As many go on to another endpoint without the
 * budget.
 */
export const MOST_REFUSED = 5

/** No request reached the peer, so it cannot have turned one away to save itself. */
const UNREACHED: ReadonlySet<ErrorCode> = new Set(['connect-failed', 'identity-rejected'])

/** Failures of the way, not of the answer: worth another attempt of an idempotent call. */
const RETRYABLE: ReadonlySet<ErrorCode> = new Set([
  'connection-lost',
  'attempt-timeout',
  'protocol-error',
  'function-failed',
])

export class RetryPolicy {
  readonly settings: RetrySettings
  readonly #budget: RetryBudget
  readonly #clock: Clock
  readonly #onUnpaid: (() => void) | undefined

  /** `onUnpaid`: a retry was worth it, and the budget did not pay for it. */
  constructor(settings: RetrySettings, budget: RetryBudget, clock: Clock, onUnpaid?: () => void) {
    this.settings = settings
    this.#budget = budget
    this.#clock = clock
    this.#onUnpaid = onUnpaid
  }

  /** May another attempt follow if this one fails? */
  mayFollow(attempt: Attempt): boolean {
    const { call } = attempt
    // A long upload takes the time that it takes.
    return call.idempotent && !call.uploads && spent(call) < this.settings.attempts
  }

  /** Does `perTryTimeout` bound this attempt? */
  bounds(attempt: Attempt): boolean {
    return this.settings.boundLastTry || this.mayFollow(attempt)
  }

  /**
   * The wait in ms before the next attempt, or {@link FINAL}. What was not executed goes on to an
   * endpoint not yet tried at once: `retry-after` is a wish of the one that refused. Withdraws from
   * the budget, unless the attempt is re-routed.
   */
  next(attempt: Attempt, outcome: Outcome, endpoints: readonly Endpoint[]): number {
    const call = attempt.call
    if (call.committed || call.cancelled || !this.#isWorthIt(attempt, outcome)) return FINAL
    const asked = outcome.retryAfterMs
    if (asked !== undefined && asked < 0) return FINAL
    const elsewhere = outcome.verdict === 'refused' && endpoints.some((other) => isUntried(other, attempt))
    // The same endpoint would refuse the same certificate again.
    if (outcome.code === 'identity-rejected' && !elsewhere) return FINAL
    const ownMs = elsewhere ? 0 : backoffMs(this.settings.backoff, attempt.number, call.waitedMs, this.#clock)
    const { leastMs } = this.settings.backoff
    const waitMs = Math.max(leastMs, elsewhere ? 0 : Math.max(asked ?? 0, ownMs))
    const now = attempt.endedAt || this.#clock.now()
    if (now + waitMs >= call.deadlineAt) return FINAL
    if (isRerouted(attempt, outcome, endpoints) || this.#budget.tryWithdraw(now)) {
      call.waitedMs = ownMs
      return waitMs
    }
    call.unpaid = true
    this.#onUnpaid?.()
    return FINAL
  }

  /** May another attempt follow an answer with this status, as far as the list and the call go? */
  repeats(call: Call, status: number): boolean {
    if (!call.idempotent || call.committed || spent(call) >= this.settings.attempts) return false
    const { statuses, grpcStatuses } = this.settings
    return call.kind.protocol === 'grpc' ? grpcStatuses.includes(status) : statuses.includes(status)
  }

  #isWorthIt(attempt: Attempt, outcome: Outcome): boolean {
    // Of the call and not of the attempt: its hedge counts, too.
    const { call } = attempt
    if (outcome.verdict === 'refused') {
      if (outcome.code === 'permission-denied') return false
      return this.settings.attempts > 1 && call.attempts < this.settings.attempts + MOST_REFUSED
    }
    if (outcome.verdict === 'cancelled') return false
    const { status } = outcome
    if (status !== undefined) return this.repeats(call, status)
    if (!call.idempotent || spent(call) >= this.settings.attempts) return false
    return outcome.code !== undefined && RETRYABLE.has(outcome.code)
  }
}

/**
 * Whether the next attempt only takes another way: this one reached no peer, and an endpoint that
 * is in use has not been tried. It adds no load to the service, so the budget does not pay for it.
 * What bounds it is the count of a call, and that each endpoint that fails so is ejected: once none
 * is left in use, every further attempt is a retry.
 */
export function isRerouted(attempt: Attempt, outcome: Outcome, endpoints: readonly Endpoint[]): boolean {
  const { call, endpoint } = attempt
  const { verdict, code } = outcome
  if (verdict !== 'refused' || code === undefined || call.refusals > MOST_REFUSED) return false
  if (UNREACHED.has(code)) return endpoints.some((other) => other.state === 'healthy' && isUntried(other, attempt))
  // A peer that turns calls away by an answer is alive and may be overloaded; one that only ended
  // its connection sends no status.
  if (!wasLeftBehind(outcome)) return false
  if (endpoints.some((other) => other.state === 'healthy' && isUntried(other, attempt))) return true
  // The endpoint itself may go on; once, a new connection to it is another way.
  return call.refusals <= 1 && endpoint?.state === 'healthy' && !endpoint.withdrawn
}

function isUntried(endpoint: Endpoint, { call, endpoint: own }: Attempt): boolean {
  return endpoint !== own && call.tried?.includes(endpoint) !== true
}

/** Attempts that count against the limit. */
function spent(call: Call): number {
  return call.attempts - call.refusals
}
