/**
 * The queue of a guarded function: calls wait, in order of arrival, for a permit of the bulkhead or
 * for their turn within the rate. It is bounded in length and time.
 *
 * - enter -> running: admitted at once · enter -> refused: nothing to wait for, or no room
 * - enter -> waiting: a permit or the rate is missing, or others wait already
 * - waiting -> running: first in line, and admitted · waiting -> refused: time is up, cancelled, or
 *   another policy refuses
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Attempt } from '../../core/attempt.ts'
import type { Timer } from '../../core/clock.ts'
import type { ErrorCode } from '../../core/errors.ts'
import { startAttempt } from '../execution.ts'
import type { RateLimitPolicy, RateLimitSettings } from '../limits/rate-limit.ts'
import type { Stack } from '../stack.ts'
import type { BulkheadPolicy, BulkheadSettings } from './bulkhead.ts'

export interface QueuedResource {
  readonly bulkhead: { readonly policy: BulkheadPolicy; readonly settings: BulkheadSettings } | undefined
  readonly rate: { readonly policy: RateLimitPolicy; readonly settings: RateLimitSettings } | undefined
}

/** Told once: without a code when the attempt has started. */
type Told = (refusal: ErrorCode | undefined) => void

interface Waiter {
  readonly attempt: Attempt
  readonly told: Told
  timer: Timer | undefined
}

export class PermitQueue {
  readonly #stack: Stack
  readonly #for: QueuedResource
  /** A set keeps the order of arrival and lets anybody leave. */
  readonly #waiting = new Set<Waiter>()
  /** What the first in line waits for. */
  #missing: ErrorCode | undefined = undefined
  #turn: Timer | undefined = undefined

  constructor(stack: Stack, waitingFor: QueuedResource) {
    this.#stack = stack
    this.#for = waitingFor
    if (waitingFor.bulkhead !== undefined) waitingFor.bulkhead.policy.onFree = () => this.#admit()
  }

  get size(): number {
    return this.#waiting.size
  }

  /** How many may wait for the bulkhead. */
  get room(): number {
    return this.#for.bulkhead?.settings.queue ?? 0
  }

  enter(attempt: Attempt, told: Told): void {
    // Who is repeated has its permit already.
    const first = attempt.call.first === undefined
    const missing = first && this.#waiting.size > 0 ? this.#missing : startAttempt(this.#stack, attempt)
    if (missing === undefined) {
      told(undefined)
      return
    }
    const refusal = this.#noRoom(missing)
    if (!first || refusal !== undefined) told(refusal ?? missing)
    else this.#wait(attempt, told, missing)
  }

  /** `undefined`: it may wait. */
  #noRoom(missing: ErrorCode): ErrorCode | undefined {
    const { bulkhead, rate } = this.#for
    if (missing === 'concurrency-limited' && bulkhead !== undefined && bulkhead.settings.queue > 0) {
      return this.#waiting.size < bulkhead.settings.queue ? undefined : 'queue-full'
    }
    if (missing !== 'rate-limited' || rate === undefined) return missing
    const { ratePerSecond, maxWaitMs = 0 } = rate.settings
    const turnIn = rate.policy.retryAfterMs + (this.#waiting.size * 1_000) / ratePerSecond
    return turnIn <= maxWaitMs ? undefined : missing
  }

  #wait(attempt: Attempt, told: Told, missing: ErrorCode): void {
    const { clock } = this.#stack
    const { call } = attempt
    // It is another call's end that lets this one start, but the function is this caller's.
    const waiter: Waiter = { attempt, told: AsyncLocalStorage.bind(told), timer: undefined }
    const { bulkhead, rate } = this.#for
    const longest = missing === 'rate-limited' ? rate?.settings.maxWaitMs : bulkhead?.settings.maxWaitMs
    const left = call.deadlineAt - clock.now()
    // Beyond the last turn that the rate may need, so that the turn comes first.
    const ms = Math.min(left, (longest ?? 0) + 1)
    const code = left <= ms ? 'deadline-exceeded' : missing
    waiter.timer = clock.startTimer(ms, () => this.#leave(waiter, code), undefined)
    call.whenCancelled = () => this.#leave(waiter, 'cancelled')
    this.#waiting.add(waiter)
    if (this.#waiting.size === 1) this.#await(missing)
  }

  #leave(waiter: Waiter, code: ErrorCode | undefined): void {
    if (!this.#waiting.delete(waiter)) return
    if (waiter.timer !== undefined) this.#stack.clock.stopTimer(waiter.timer)
    waiter.attempt.call.whenCancelled = undefined
    if (this.#waiting.size === 0) this.#stopTurn()
    waiter.told(code)
  }

  /** The first in line again, then the next, until one must go on waiting. */
  #admit(): void {
    for (const waiter of this.#waiting) {
      const missing = startAttempt(this.#stack, waiter.attempt)
      if (missing === 'concurrency-limited' || missing === 'rate-limited') {
        this.#await(missing)
        return
      }
      this.#leave(waiter, missing)
    }
  }

  #await(missing: ErrorCode): void {
    this.#missing = missing
    this.#stopTurn()
    if (missing !== 'rate-limited') return
    const ms = Math.max(0.01, this.#for.rate?.policy.retryAfterMs ?? 0)
    this.#turn = this.#stack.clock.startTimer(ms, () => this.#admit(), undefined)
  }

  #stopTurn(): void {
    if (this.#turn !== undefined) this.#stack.clock.stopTimer(this.#turn)
    this.#turn = undefined
  }
}
