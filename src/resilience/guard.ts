/**
 * The policies for any asynchronous function, without a mesh. The order is the stack's, whatever order the options were written in:
 * fallback, time limit, rate limit, bulkhead, breaker, retry, function.
 */

import { Attempt } from '../core/attempt.ts'
import { Call, type Route } from '../core/call.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { inboundCall, serving } from '../core/context.ts'
import type { Duration } from '../core/duration.ts'
import { type ErrorCode, isMeshError, MeshError } from '../core/errors.ts'
import { NOT_STARTED, type Outcome, outcome, SUCCESS } from '../core/outcome.ts'
import { SILENT } from '../core/telemetry.ts'
import type { CircuitBreakerOptions } from './circuit-breaker.ts'
import { CircuitBreakerPolicy } from './circuit-breaker.ts'
import { ConcurrencyLimitPolicy } from './concurrency-limit.ts'
import { endAttempt, endCall, startAttempt, startCall } from './execution.ts'
import { type GuardSettings, resolveGuard } from './guard-settings.ts'
import type { RateLimitOptions } from './rate-limit.ts'
import { RateLimitPolicy } from './rate-limit.ts'
import { AttemptFailed, repeat } from './repeat.ts'
import { FINAL, type RetryOptions } from './retry.ts'
import { type Stack, withoutCluster } from './stack.ts'

/** How a function is protected. What is not given is not done. */
export interface GuardOptions<Args extends readonly unknown[] = readonly never[], Result = unknown> {
  /** How errors, metrics and `circuits()` name it. @defaultValue the function's name */
  readonly name?: string
  /** Bound of a whole call, retries and waits included. @defaultValue none but that of the request being served */
  readonly timeout?: Duration
  /** Repeats failed calls; to give it is to say that a second execution does no harm. */
  readonly retry?: RetryOptions
  /** Refuses calls while too many fail. `true`: with the defaults. */
  readonly circuitBreaker?: CircuitBreakerOptions | boolean
  /** Calls in progress; more are refused. @defaultValue no limit */
  readonly bulkhead?: number
  /** @defaultValue no limit */
  readonly rateLimit?: RateLimitOptions
  /** The last word when everything else has failed. Gets the error, then the arguments. */
  readonly fallback?: (error: unknown, ...args: Args) => Result | PromiseLike<Result>
  /** Which errors are failures; others are answers like any: not repeated, not counted. @defaultValue all */
  readonly isFailure?: (error: unknown) => boolean
  /** Where time and chance come from. @defaultValue the system's */
  readonly clock?: Clock
}

/** The policies of one guarded function: one for all who call it. */
export class Guard {
  readonly settings: GuardSettings
  readonly stack: Stack
  readonly route: Route

  constructor(settings: GuardSettings, name: string) {
    this.settings = settings
    const { clock, circuitBreaker, bulkhead, rateLimit } = settings
    this.route = Object.freeze({
      service: name,
      method: name,
      protocol: 'function',
      streaming: false,
      idempotent: settings.retry !== undefined,
    })
    this.stack = withoutCluster(
      settings.timeoutMs,
      SILENT,
      clock,
      [
        // Limits before the breaker: a refusal here must not take the breaker's only probe.
        rateLimit && new RateLimitPolicy(rateLimit, clock),
        bulkhead === undefined ? undefined : new ConcurrencyLimitPolicy({ concurrency: bulkhead }),
        circuitBreaker && new CircuitBreakerPolicy(name, circuitBreaker, clock),
      ],
      [],
      settings.retry,
    )
  }

  async run<T>(work: () => T | PromiseLike<T>): Promise<T> {
    const { stack } = this
    const parent = inboundCall()
    const now = stack.clock.now()
    const deadlineAt = Math.min(parent?.deadlineAt ?? Number.POSITIVE_INFINITY, now + stack.timeoutMs)
    const call = new Call(this.route, now, deadlineAt, parent)
    call.trace = parent?.trace
    call.peer = parent?.peer
    startCall(stack, call)
    try {
      return await this.#attempt(call, work)
    } catch (error) {
      if (!(error instanceof AttemptFailed)) throw error
      return repeat(stack, call, error.waitMs, () => this.#attempt(call, work))
    }
  }

  #attempt<T>(call: Call, work: () => T | PromiseLike<T>): Promise<T> {
    const { stack } = this
    const attempt = new Attempt(call)
    const refusal = startAttempt(stack, attempt)
    if (refusal !== undefined) {
      const cause = call.cancelledBy
      endCall(stack, call, refusal === 'cancelled' ? NOT_STARTED : outcome('refused', refusal))
      return Promise.reject(refusal === 'cancelled' ? this.#cancelled(call, cause) : this.#refused(call, refusal))
    }
    attempt.sent = true
    return new Promise<T>((resolve, reject) => {
      let timer: Timer | undefined
      const end = (ended: Outcome, error: unknown): void => {
        if (!attempt.running) return
        if (timer !== undefined) stack.clock.stopTimer(timer)
        call.onCancel = undefined
        const waitMs = endAttempt(stack, attempt, ended)
        reject(waitMs === FINAL ? error : new AttemptFailed(waitMs))
      }
      const ms = this.#attemptTimeout(attempt)
      if (ms !== Number.POSITIVE_INFINITY)
        timer = stack.clock.startTimer(ms, () => this.#late(attempt, ms, end), undefined)
      call.onCancel = (cause) =>
        end(
          isLate(cause) ? outcome('failure', 'deadline-exceeded', cause) : outcome('cancelled', 'cancelled', cause),
          isLate(cause) ? cause : this.#cancelled(call, cause),
        )

      // Inside, the call is what is being served: the mesh's clients inherit its deadline and its cancellation.
      let running: T | PromiseLike<T>
      try {
        running = serving(call, work)
      } catch (error) {
        end(this.#failure(error), error)
        return
      }
      Promise.resolve(running).then(
        (value) => {
          if (!attempt.running) return
          if (timer !== undefined) stack.clock.stopTimer(timer)
          call.onCancel = undefined
          endAttempt(stack, attempt, SUCCESS)
          resolve(value)
        },
        (error: unknown) => end(this.#failure(error), error),
      )
    })
  }

  #attemptTimeout(attempt: Attempt): number {
    const left = attempt.call.deadlineAt - this.stack.clock.now()
    const perTryMs = this.settings.perTryTimeoutMs
    if (perTryMs === undefined || !this.stack.retry.mayFollow(attempt)) return left
    return Math.min(perTryMs, left)
  }

  #late(attempt: Attempt, ms: number, end: (ended: Outcome, error: unknown) => void): void {
    const call = attempt.call
    // A timer of Node may fire a moment early.
    if (this.stack.clock.now() + 2 >= call.deadlineAt) {
      // Ends the attempt through `onCancel`, then all that the function has started through the mesh.
      call.cancel(
        this.#error(call, 'deadline-exceeded', `did not end within ${Math.round(call.deadlineAt - call.startedAt)} ms`),
      )
      return
    }
    const error = this.#error(call, 'attempt-timeout', `did not end within ${Math.round(ms)} ms`)
    end(outcome('failure', 'attempt-timeout', error), error)
  }

  #failure(error: unknown): Outcome {
    if (this.settings.isFailure?.(error) === false) return { ...SUCCESS, cause: error }
    return outcome('failure', isMeshError(error) ? error.code : 'function-failed', error)
  }

  #refused(call: Call, code: ErrorCode): MeshError {
    return this.#error(call, code, REFUSED[code] ?? 'was refused')
  }

  #cancelled(call: Call, cause: unknown): unknown {
    return isLate(cause) ? cause : this.#error(call, 'cancelled', 'was cancelled', cause)
  }

  #error(call: Call, code: ErrorCode, what: string, cause?: unknown): MeshError {
    return new MeshError(`${call.route.service} ${what} (${code})`, {
      code,
      service: call.route.service,
      method: call.route.method,
      attempts: call.reports,
      elapsedMs: this.stack.clock.now() - call.startedAt,
      sent: call.attempts > 0,
      cause,
    })
  }
}

const REFUSED: { readonly [C in ErrorCode]?: string } = {
  'circuit-open': 'was not called: its circuit breaker is open',
  'concurrency-limited': 'was not called: as many calls as its bulkhead allows are in progress',
  'rate-limited': 'was not called: its rate limit is reached',
  'deadline-exceeded': 'was not called again: no time is left',
}

function isLate(cause: unknown): boolean {
  return isMeshError(cause) && cause.code === 'deadline-exceeded'
}

/** Where a guarded function keeps what it was made of, so that a further decorator adds to it. */
export const GUARDED: unique symbol = Symbol.for('inmesh.guarded')

export interface Guarded {
  readonly work: (...args: never[]) => unknown
  readonly options: GuardOptions<never, unknown>
}

/**
 * The same function, protected. It keeps `this`, its name and its types; every result is a promise. Inside a request that is
 * being served it inherits deadline, trace and cancellation.
 *
 * @throws OptionsError at once, if an option is wrong. The guarded function rejects with a {@link MeshError} for what the
 * policies decide (`circuit-open`, `deadline-exceeded`, `concurrency-limited`, `rate-limited`, `cancelled`), otherwise with
 * what the function itself threw.
 * @example
 * ```ts
 * const quote = guard(fetchQuote, { timeout: '200ms', retry: { attempts: 3 }, circuitBreaker: true, fallback: () => 0 })
 * const price = await quote('sku-1')
 * ```
 */
export function guard<This, Args extends readonly unknown[], Result>(
  work: (this: This, ...args: Args) => Result,
  options: GuardOptions<Args, Awaited<Result>> = {},
): (this: This, ...args: Args) => Promise<Awaited<Result>> {
  const settings = resolveGuard(options)
  const made = new Guard(settings, settings.name ?? (work.name || 'anonymous function'))
  return wrap(work, options as unknown as GuardOptions<never, unknown>, settings, () => made)
}

/** `find` gives the policies for one call, by its `this`. */
export function wrap<This, Args extends readonly unknown[], Result>(
  work: (this: This, ...args: Args) => Result,
  options: GuardOptions<never, unknown>,
  settings: GuardSettings,
  find: (self: This) => Guard,
): (this: This, ...args: Args) => Promise<Awaited<Result>> {
  const { fallback } = settings
  const guarded = async function (this: This, ...args: Args): Promise<Awaited<Result>> {
    try {
      return await find(this).run(() => Reflect.apply(work, this, args) as Awaited<Result>)
    } catch (error) {
      if (fallback === undefined) throw error
      return (await fallback.call(this, error, ...args)) as Awaited<Result>
    }
  }
  Object.defineProperty(guarded, 'name', { value: work.name, configurable: true })
  Object.defineProperty(guarded, 'length', { value: work.length, configurable: true })
  Object.defineProperty(guarded, GUARDED, { value: { work, options } satisfies { work: unknown; options: unknown } })
  return guarded
}
