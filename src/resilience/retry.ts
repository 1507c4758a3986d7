/**
 * What may be tried again, and when. The rule that everything else bends to: a call that may have
 * been executed is repeated only if it is idempotent; one that certainly was not executed may
 * always be tried elsewhere.
 */
import type { Attempt } from '../core/attempt.ts'
import type { Call } from '../core/call.ts'
import type { Clock } from '../core/clock.ts'
import type { Endpoint } from '../core/endpoint.ts'
import type { ErrorCode } from '../core/errors.ts'
import { type Outcome, wasLeftBehind } from '../core/outcome.ts'
import { GRPC_FAILURES, GRPC_STATUS, type GrpcFailure } from '../core/status.ts'
import { type Duration, formatDuration } from '../options/duration.ts'
import { check, fields, list, oneOf, withDefault } from '../options/fields.ts'
import { grpcMethod } from '../options/names.ts'
import { duration, integer } from '../options/quantities.ts'
import {
  BACKOFF_DEFAULTS,
  BACKOFF_FIELDS,
  type Backoff,
  type BackoffOptions,
  backoffMs,
  type Jitter,
} from './backoff.ts'
import {
  RETRY_BUDGET_DEFAULTS,
  RETRY_BUDGET_FIELDS,
  type RetryBudget,
  type RetryBudgetOptions,
  type RetryBudgetSettings,
} from './retry-budget.ts'

/** Retries of one service or function. */
export interface RetryOptions {
  /** Attempts in all, the first included; 1 = no retry. @defaultValue 3 (SRE book, chapter 21) */
  readonly attempts?: number
  /**
   * Bound of one attempt while another may follow it. The last one, and that of a call that must
   * not be repeated, has all the time that is left. @defaultValue `'2s'`
   */
  readonly perTryTimeout?: Duration
  /** The wait before the next attempt; a peer's `retry-after` replaces it if longer. */
  readonly backoff?: BackoffOptions
  /**
   * HTTP statuses worth another attempt of an idempotent call. @defaultValue `[429, 502, 503, 504]`
   */
  readonly statuses?: readonly number[]
  /**
   * gRPC statuses worth another attempt of an idempotent call, whether they come at once or in the
   * trailers behind headers.
   * @defaultValue `['UNAVAILABLE', 'RESOURCE_EXHAUSTED']`
   */
  readonly grpcStatuses?: readonly GrpcFailure[]
  /**
   * gRPC methods of which a second execution does no harm, `shop.Inventory/Get` or
   * `shop.Inventory/*`, besides those that say so in their `.proto` (`idempotency_level`).
   * @defaultValue none
   */
  readonly idempotent?: readonly string[]
  /** Bounds the retries of the whole service. */
  readonly budget?: RetryBudgetOptions
}

export interface RetrySettings {
  readonly attempts: number
  readonly perTryTimeoutMs: number
  readonly backoff: Backoff
  readonly statuses: readonly number[]
  /** By their numbers. */
  readonly grpcStatuses: readonly number[]
  readonly idempotent: readonly string[]
  readonly budget: RetryBudgetSettings
}

const GRPC_STATUSES: readonly GrpcFailure[] = Object.freeze(['UNAVAILABLE', 'RESOURCE_EXHAUSTED'])

export const RETRY_DEFAULTS: RetrySettings = Object.freeze({
  attempts: 3,
  perTryTimeoutMs: 2_000,
  backoff: BACKOFF_DEFAULTS,
  statuses: Object.freeze([429, 502, 503, 504]),
  grpcStatuses: numbersOf(GRPC_STATUSES),
  idempotent: Object.freeze([]),
  budget: RETRY_BUDGET_DEFAULTS,
})

export const RETRY_FIELDS = fields({
  attempts: withDefault(integer({ min: 1, max: 10 }), RETRY_DEFAULTS.attempts),
  perTryTimeout: withDefault(duration({ min: 1, max: 300_000 }), RETRY_DEFAULTS.perTryTimeoutMs, formatDuration(2_000)),
  backoff: withDefault(BACKOFF_FIELDS, { base: 25, max: 250, jitter: 'full' as Jitter }, {}),
  statuses: withDefault(list(integer({ min: 400, max: 599 }), { max: 50 }), RETRY_DEFAULTS.statuses),
  grpcStatuses: withDefault(list(oneOf(GRPC_FAILURES), { max: GRPC_FAILURES.length }), GRPC_STATUSES),
  idempotent: withDefault(list(grpcMethod(), { max: 200 }), RETRY_DEFAULTS.idempotent),
  budget: withDefault(RETRY_BUDGET_FIELDS, RETRY_BUDGET_DEFAULTS, {}),
})

/** Validates and completes. @throws OptionsError naming each wrong field. */
export function resolveRetry(options?: RetryOptions, what = 'retry'): RetrySettings {
  return retrySettings(check(RETRY_FIELDS, options, what))
}

/** From checked fields to settings. */
export function retrySettings(given: ReturnType<(typeof RETRY_FIELDS)['parse']>): RetrySettings {
  return Object.freeze({
    attempts: given.attempts,
    perTryTimeoutMs: given.perTryTimeout,
    backoff: Object.freeze({
      baseMs: given.backoff.base,
      maxMs: given.backoff.max,
      jitter: given.backoff.jitter,
    }),
    statuses: given.statuses,
    grpcStatuses: numbersOf(given.grpcStatuses),
    idempotent: given.idempotent,
    budget: given.budget,
  })
}

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

  /** May another attempt follow if this one fails? Decides the attempt's timeout. */
  mayFollow(attempt: Attempt): boolean {
    const { call } = attempt
    // A long upload takes the time that it takes.
    return call.idempotent && !call.uploads && spent(call) < this.settings.attempts
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
    const waitMs = elsewhere ? 0 : Math.max(asked ?? 0, ownMs)
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

  #isWorthIt(attempt: Attempt, outcome: Outcome): boolean {
    // Of the call and not of the attempt: its hedge counts, too.
    const { call } = attempt
    if (outcome.verdict === 'refused') {
      if (outcome.code === 'permission-denied') return false
      return this.settings.attempts > 1 && call.attempts < this.settings.attempts + MOST_REFUSED
    }
    if (outcome.verdict !== 'failure' || !call.idempotent || spent(call) >= this.settings.attempts) return false
    const { status } = outcome
    if (status !== undefined) {
      const { statuses, grpcStatuses } = this.settings
      return call.route.protocol === 'grpc' ? grpcStatuses.includes(status) : statuses.includes(status)
    }
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
