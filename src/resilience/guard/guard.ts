/**
 * The policies for any asynchronous function, without a mesh. The stack fixes their order:
 * fallback, shared results, time limit, rate limit, bulkhead, breaker, retry, hedge, function.
 */

import { Call, type CallKind } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import { inboundCall } from '../../core/context.ts'
import { type ErrorCode, isLate, isMeshError, MeshError } from '../../core/errors.ts'
import { NOT_STARTED, type Outcome, outcome, SUCCESS } from '../../core/outcome.ts'
import type { Duration } from '../../options/duration.ts'
import { OptionsError, show } from '../../options/fields.ts'
import type { CircuitBreakerOptions } from '../circuit-breaker.ts'
import { CircuitBreakerPolicy } from '../circuit-breaker.ts'
import { endCall, startCall } from '../execution.ts'
import { type HedgeOptions, HedgePolicy } from '../hedge.ts'
import type { RateLimitOptions } from '../limits/rate-limit.ts'
import { RateLimitPolicy } from '../limits/rate-limit.ts'
import { retryAfterMs } from '../policy-list.ts'
import type { RetryOptions } from '../retry.ts'
import { AttemptFailed, retryLoop } from '../retry-loop.ts'
import { SharedResults } from '../shared-results.ts'
import { compileEndpointlessStack, type Stack } from '../stack.ts'
import { TypicalLatency } from '../typical-latency.ts'
import { type BulkheadOptions, BulkheadPolicy } from './bulkhead.ts'
import { GuardAttempt, GuardCall, type GuardRules } from './call.ts'
import { callKey } from './call-key.ts'
import { guardCircuitListener } from './events.ts'
import { isClass, isGenerator, isObject } from './guarded-class.ts'
import { PermitQueue } from './permit-queue.ts'
import { type GuardSettings, resolveGuard } from './settings.ts'
import { synchronous } from './synchronous.ts'
import { listFunction, WatchedCalls, type WatchedFunction } from './watched-functions.ts'

/** How a function is protected. What is not given is not done. */
export interface GuardOptions<Args extends readonly unknown[] = readonly never[], Result = unknown> {
  /** How errors, metrics and `circuits()` name it. @defaultValue the function's name */
  readonly name?: string
  /**
   * Bound of a whole call, retries and waits included. @defaultValue none but that of the request
   * being served
   */
  readonly timeout?: Duration
  /**
   * Repeats failed calls; to give it is to say that a second execution does no harm.
   * @defaultValue off
   */
  readonly retry?: RetryOptions
  /** Refuses calls while too many fail. `true`: with the defaults. @defaultValue off */
  readonly circuitBreaker?: CircuitBreakerOptions | boolean
  /**
   * A second execution when the first is late; the first success counts. To give it is to say that
   * a second execution does no harm. `true`: with the defaults. @defaultValue off
   */
  readonly hedge?: HedgeOptions | boolean
  /**
   * Executions in progress; more are refused, or wait if there is a queue. An execution counts
   * until it has really ended, also after its time limit. @defaultValue no limit
   */
  readonly bulkhead?: number | 'adaptive' | BulkheadOptions
  /** Calls beyond it are refused, or wait for their turn up to `maxWait`. @defaultValue no limit */
  readonly rateLimit?: RateLimitOptions
  /**
   * Equal calls share one execution while it runs; they get the very same value. The execution
   * belongs to none of them: it has the guard's own time limit, and it is cancelled when all have
   * gone. @defaultValue `true` with `cache`, else `false`
   */
  readonly collapse?: boolean
  /**
   * How long a result is kept for equal calls; at most 1,000 of them, and no failures.
   * @defaultValue not at all
   */
  readonly cache?: Duration
  /**
   * Which calls are equal; `undefined` for one that is like no other. Answers at once; what it
   * throws ends the call with `function-failed`. @defaultValue the same `this`, and arguments of
   * the same contents; what has no contents to compare is like no other
   */
  readonly key?: (...args: Args) => string | undefined
  /**
   * The last word when everything else has failed. Gets the error, then the arguments.
   * @defaultValue none: the error is thrown
   */
  readonly fallback?: (error: unknown, ...args: Args) => Result | PromiseLike<Result>
  /**
   * Which errors are failures; others are answers like any: not repeated, not counted. Answers at
   * once: what is falsy says no, and `undefined` is no answer, so the default holds. What it throws
   * ends the call with `function-failed`. @defaultValue all
   */
  readonly isFailure?: (error: unknown) => boolean
  /** Where time and chance come from. @defaultValue the system's */
  readonly clock?: Clock
}

/** The policies of one guarded function: one for all who call it. */
export class Guard implements GuardRules {
  readonly settings: GuardSettings
  readonly stack: Stack
  readonly kind: CallKind
  readonly #room: PermitQueue
  /** Listed while the guard is referenced. */
  readonly #listed: WatchedFunction
  /** By the object whose method was called. */
  readonly #shared = new WeakMap<object, SharedResults<unknown>>()

  constructor(settings: GuardSettings, name: string) {
    this.settings = settings
    const { clock, circuitBreaker, retry, hedge } = settings
    const rate = settings.rateLimit && {
      policy: new RateLimitPolicy(settings.rateLimit, clock),
      settings: settings.rateLimit,
    }
    const bulkhead = settings.bulkhead && {
      policy: new BulkheadPolicy(settings.bulkhead.limit, clock),
      settings: settings.bulkhead,
    }
    this.kind = Object.freeze({
      service: name,
      method: name,
      protocol: 'function',
      streaming: false,
      idempotent: retry !== undefined || hedge !== undefined,
    })
    const breaker = circuitBreaker && new CircuitBreakerPolicy(name, circuitBreaker, clock, guardCircuitListener(clock))
    const stack = compileEndpointlessStack(
      settings.timeoutMs,
      new WatchedCalls(clock),
      clock,
      [
        // Limits before the breaker: a refusal here must not take the breaker's only probe.
        rate?.policy,
        bulkhead?.policy,
        breaker,
      ],
      [],
      retry,
      hedge && new HedgePolicy(name, hedge, clock),
    )
    this.stack = Object.freeze({ ...stack, typicalLatency: new TypicalLatency() })
    this.#room = new PermitQueue(this.stack, { bulkhead, rate })
    this.#listed = { name, breaker, bulkhead: bulkhead?.policy, queue: this.#room }
    if (breaker !== undefined || bulkhead !== undefined) listFunction(this.#listed)
  }

  /** The same, shared with equal calls. */
  share<T>(self: unknown, args: readonly unknown[], work: () => T | PromiseLike<T>): Promise<T> {
    const { sharing, clock } = this.settings
    const key = sharing === undefined ? undefined : this.#keyOf(self, args)
    if (sharing === undefined || key === undefined) return this.run(work)
    const owner = isObject(self) ? self : this
    let shared = this.#shared.get(owner)
    if (shared === undefined) {
      shared = new SharedResults<unknown>(sharing, clock)
      this.#shared.set(owner, shared)
    }
    const { kind } = this
    const left = (cause: unknown) => (isLate(cause) ? cause : this.#left(cause))
    return shared.get(key, kind, (root) => this.run(work, root), left) as Promise<T>
  }

  #left(cause: unknown): MeshError {
    const now = this.stack.clock.now()
    return this.error(new Call(this.kind, now, now, undefined), 'cancelled', 'was cancelled', cause)
  }

  #keyOf(self: unknown, args: readonly unknown[]): string | undefined {
    const given = this.settings.key
    if (given === undefined) return callKey(self, args)
    let key: unknown
    try {
      key = synchronous(given(...args), 'key')
      if (key === undefined) return undefined
      if (typeof key !== 'string') throw new TypeError(`key: expected a text or undefined, got ${show(key)}`)
    } catch (error) {
      const now = this.stack.clock.now()
      const call = new Call(this.kind, now, now, undefined)
      throw this.error(call, 'function-failed', 'was not called: its key failed', error)
    }
    // Objects differ by identity, other values of `this` by content.
    if (isObject(self) || self === undefined) return key
    const own = callKey(self, [])
    return own === undefined ? undefined : `${own}${key}`
  }

  async run<T>(work: () => T | PromiseLike<T>, parent: Call | undefined = inboundCall()): Promise<T> {
    const { stack } = this
    const now = stack.clock.now()
    const deadlineAt = Math.min(parent?.bindsUntil ?? Number.POSITIVE_INFINITY, now + stack.timeoutMs)
    const call = new GuardCall(this.kind, now, deadlineAt, parent)
    call.trace = parent?.trace
    call.peer = parent?.peer
    call.previousAttempts = parent?.previousAttempts ?? 0
    startCall(stack, call)
    try {
      return await this.#attempt(call, work)
    } catch (error) {
      if (!AttemptFailed.is(error)) throw error
      return retryLoop(stack, call, error.waitMs, () => this.#attempt(call, work))
    }
  }

  #attempt<T>(call: GuardCall, work: () => T | PromiseLike<T>): Promise<T> {
    return new Promise<unknown>((resolve, reject) => {
      const attempt = new GuardAttempt(this, call, work, resolve, reject)
      this.#room.enter(attempt, (refusal) => {
        if (refusal === undefined) attempt.run()
        else reject(this.#notStarted(call, refusal))
      })
    }) as Promise<T>
  }

  #notStarted(call: GuardCall, refusal: ErrorCode): unknown {
    const cause = call.cancelledBy
    endCall(this.stack, call, refusal === 'cancelled' ? NOT_STARTED : outcome('refused', refusal))
    if (refusal === 'cancelled') return isLate(cause) ? cause : this.error(call, 'cancelled', 'was cancelled', cause)
    return this.error(call, refusal, REFUSED[refusal] ?? 'was refused', undefined, retryAfterMs(this.stack.service))
  }

  // What attempts need.

  get perTryTimeoutMs(): number | undefined {
    return this.settings.perTryTimeoutMs
  }

  failure(error: unknown): Outcome {
    const { isFailure } = this.settings
    const answer: unknown = isFailure === undefined ? true : synchronous(isFailure(error), 'isFailure')
    // A forgotten `return` must not switch the breaker off.
    if (answer !== undefined && !answer) return { ...SUCCESS, cause: error }
    return outcome('failure', isMeshError(error) ? error.code : 'function-failed', error)
  }

  error(call: Call, code: ErrorCode, what: string, cause?: unknown, retryAfterMs?: number): MeshError {
    return new MeshError(`${call.kind.service} ${what} (${code})`, {
      code,
      service: call.kind.service,
      method: call.kind.method,
      attempts: call.reports,
      elapsedMs: this.stack.clock.now() - call.startedAt,
      sent: call.attempts > 0,
      retryAfterMs,
      cause,
    })
  }
}

const REFUSED: { readonly [C in ErrorCode]?: string } = {
  'circuit-open': 'was not called: its circuit breaker is open',
  'queue-full': 'was not called: as many calls as its bulkhead lets wait are waiting',
  'concurrency-limited': 'was not called: as many calls as its bulkhead allows are in progress',
  'rate-limited': 'was not called: its rate limit is reached',
  'deadline-exceeded': 'was not called: no time is left',
}

/** Where a guarded function keeps what it was made of, so that a further decorator adds to it. */
export const GUARDED: unique symbol = Symbol.for('inmesh.guarded')

export interface Guarded {
  readonly work: (...args: never[]) => unknown
  readonly options: GuardOptions<never, unknown>
}

/**
 * The same function, protected. It keeps `this`, its name and its types; every result is a promise.
 * Inside a request that is being served it inherits deadline, trace and cancellation.
 *
 * @throws OptionsError at once, if an option is wrong. The guarded function rejects with a
 * {@link MeshError} for what the policies decide (`circuit-open`, `deadline-exceeded`,
 * `concurrency-limited`, `queue-full`, `rate-limited`, `cancelled`), otherwise with what the
 * function itself threw.
 * @example
 * ```ts
 * const quote = guard(fetchQuote, { timeout: '200ms', retry: { attempts: 3 }, fallback: () => 0 })
 * const price = await quote('sku-1')
 * ```
 */
export function guard<This, Args extends readonly unknown[], Result>(
  work: (this: This, ...args: Args) => Result,
  options: GuardOptions<Args, Awaited<Result>> = {},
): (this: This, ...args: Args) => Promise<Awaited<Result>> {
  checkWork(work)
  const settings = resolveGuard(options)
  const made = new Guard(settings, settings.name ?? (work.name || 'anonymous function'))
  return wrap(work, options as unknown as GuardOptions<never, unknown>, settings, () => made)
}

/** @throws OptionsError for what has no result to wait for */
function checkWork(work: unknown): void {
  let problem: string | undefined
  if (typeof work !== 'function') problem = `expected a function, got ${show(work)}`
  else if (isClass(work)) problem = 'is a class; guard its methods, with decorators or one by one'
  else if (isGenerator(work)) problem = 'is a generator, whose result is no promise; guard what it awaits'
  if (problem !== undefined) throw new OptionsError('guard', [{ path: ['function'], message: problem }])
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
      const made = find(this)
      const execute = () => Reflect.apply(work, this, args) as Awaited<Result>
      return await (settings.sharing === undefined ? made.run(execute) : made.share(this, args, execute))
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
