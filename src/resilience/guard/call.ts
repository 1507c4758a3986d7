/**
 * One call of a guarded function and its attempts. A function cannot be stopped from outside, so
 * the call counts its executions, and the bulkhead waits for them.
 */
import { Attempt } from '../../core/attempt.ts'
import { Call } from '../../core/call.ts'
import type { Timer } from '../../core/clock.ts'
import { serving } from '../../core/context.ts'
import { type ErrorCode, isLate } from '../../core/errors.ts'
import { type Outcome, outcome, SUCCESS } from '../../core/outcome.ts'
import { endAttempt, hedgeDelay, NOT_DECISIVE, startHedge } from '../execution.ts'
import { LOST } from '../hedge.ts'
import { AttemptFailed } from '../retry-loop.ts'
import type { Stack } from '../stack.ts'
import { hadEnoughTime } from '../timeout-attribution.ts'

/** What attempts need from the guard that made them. */
export interface GuardRules {
  readonly stack: Stack
  /** Bound of one attempt while another may follow. */
  readonly perTryTimeoutMs: number | undefined
  failure(error: unknown): Outcome
  error(call: Call, code: ErrorCode, what: string, cause?: unknown): unknown
}

export class GuardCall extends Call {
  /** Executions of the function that have not ended, even if no caller waits for them any more. */
  executing = 0
  /** Called when the last of them has ended. */
  onIdle: (() => void) | undefined = undefined
  late: GuardAttempt | undefined = undefined
  beside: GuardAttempt | undefined = undefined
  hedgeTimer: Timer | undefined = undefined

  override get over(): boolean {
    return this.settled && this.executing === 0
  }

  executionEnded(): void {
    this.executing -= 1
    if (this.executing > 0) return
    const { onIdle } = this
    this.onIdle = undefined
    onIdle?.()
  }
}

/**
 * What one execution does through the mesh, where a call may have several: it belongs to this one,
 * and ends with it.
 */
class Execution extends Call {
  executing = true

  override get over(): boolean {
    return !this.executing
  }
}

export class GuardAttempt extends Attempt {
  declare readonly call: GuardCall
  readonly #rules: GuardRules
  readonly #work: () => unknown
  readonly #resolve: (value: unknown) => void
  readonly #reject: (error: unknown) => void
  #timer: Timer | undefined = undefined
  #limitMs = Number.POSITIVE_INFINITY
  /**
   * Its limit is its own and not the call's. By the timer alone: tests fake timers, and not the
   * clock beside them.
   */
  #ownLimit = false
  #inner: Execution | undefined = undefined

  constructor(
    rules: GuardRules,
    call: GuardCall,
    work: () => unknown,
    resolve: (value: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    super(call)
    this.#rules = rules
    this.#work = work
    this.#resolve = resolve
    this.#reject = reject
  }

  /** It was let start. Must not throw: it may be another call's end that lets it. */
  run(): void {
    try {
      this.#begin()
    } catch (error) {
      this.end(outcome('cancelled', 'function-failed', error), error)
    }
  }

  #begin(): void {
    const { call } = this
    const { stack, perTryTimeoutMs } = this.#rules
    this.sent = true
    this.#limitMs = call.deadlineAt - stack.clock.now()
    if (perTryTimeoutMs !== undefined && perTryTimeoutMs < this.#limitMs && stack.retry.bounds(this)) {
      this.#limitMs = perTryTimeoutMs
      this.#ownLimit = true
    }
    if (this.#limitMs !== Number.POSITIVE_INFINITY) {
      this.#timer = stack.clock.startTimer(this.#limitMs, timeUp, this)
    }
    call.whenCancelled = giveUp
    if (!this.hedge) {
      call.late = this
      const ms = hedgeDelay(stack, this)
      if (ms < this.#limitMs) call.hedgeTimer = stack.clock.startTimer(ms, hedge, this)
    }
    this.#execute()
  }

  #execute(): void {
    const { call } = this
    if (this.#rules.stack.hedge !== undefined || this.#rules.perTryTimeoutMs !== undefined) {
      this.#inner = new Execution(call.kind, this.startedAt, call.deadlineAt, call)
      this.#inner.trace = call.trace
      this.#inner.peer = call.peer
      this.#inner.previousAttempts = call.previousAttempts
      call.adopt(this.#inner)
    }
    call.executing += 1
    // Inside, the call is what is being served: the mesh's clients inherit its deadline and its
    // cancellation.
    this.#watch()
  }

  /**
   * Waits for the function as `await` does, which believes nothing: a promise may have a `then` of
   * its own, settle twice, or throw when it is looked at. Ends one turn later even if it throws at
   * once, because others may be waiting for its permit.
   */
  #watch(): void {
    const returned = (value: unknown): void => this.#executed(SUCCESS, value)
    const threw = (error: unknown): void => {
      if (!this.running) this.#executed(LOST, error)
      else this.#executed(...this.#judge(error))
    }
    try {
      // An async function would do the same, and costs each execution more.
      Reflect.apply(then, Promise.resolve(serving(this.#inner ?? this.call, this.#work)), [returned, threw])
    } catch (error) {
      void Promise.reject(error).catch(threw)
    }
  }

  #executed(ended: Outcome, value: unknown): void {
    if (this.#inner !== undefined) this.#inner.executing = false
    try {
      this.call.executionEnded()
      this.end(ended, value)
    } catch (error) {
      // Only what the user gave can throw here: a clock.
      this.#reject(error)
    }
  }

  /**
   * Classifies `error` and makes the error for the caller. An error that cannot be classified
   * counts for no policy and is not repeated.
   */
  #judge(error: unknown): [Outcome, unknown] {
    try {
      return [this.#rules.failure(error), error]
    } catch (thrown) {
      const told = this.#rules.error(this.call, 'function-failed', 'failed, and so did its isFailure', thrown)
      return [outcome('cancelled', 'function-failed', thrown), told]
    }
  }

  /** `result`: the value of a success, otherwise the error. */
  end(ended: Outcome, result: unknown): void {
    if (!this.running) return
    const { call } = this
    const { stack } = this.#rules
    if (this.#timer !== undefined) stack.clock.stopTimer(this.#timer)
    if (this.#inner !== undefined) {
      if (ended.verdict !== 'success') this.#inner.cancel(ended.cause ?? ended.code)
      this.#inner.settled = true
      call.release(this.#inner)
    }
    const waitMs = endAttempt(stack, this, ended)
    if (waitMs === NOT_DECISIVE) return
    if (call.hedgeTimer !== undefined) stack.clock.stopTimer(call.hedgeTimer)
    call.hedgeTimer = undefined
    call.whenCancelled = undefined
    const other = this === call.beside ? call.late : call.beside
    other?.end(LOST, undefined)
    if (waitMs >= 0) this.#reject(new AttemptFailed(waitMs))
    else if (ended === SUCCESS) this.#resolve(result)
    else this.#reject(result)
  }

  giveUp(cause: unknown): void {
    const { call } = this
    if (isLate(cause)) {
      const { stack } = this.#rules
      const enough = hadEnoughTime(stack, this, stack.clock.now())
      this.end(outcome(enough ? 'failure' : 'cancelled', 'deadline-exceeded', cause), cause)
    } else
      this.end(outcome('cancelled', 'cancelled', cause), this.#rules.error(call, 'cancelled', 'was cancelled', cause))
  }

  timeUp(): void {
    const { call } = this
    if (!this.#ownLimit) {
      const ms = Math.round(call.deadlineAt - call.startedAt)
      // Ends the attempts through `whenCancelled`, then all that the function has started through
      // the mesh.
      call.cancel(this.#rules.error(call, 'deadline-exceeded', `did not end within ${ms} ms`))
      return
    }
    const error = this.#rules.error(call, 'attempt-timeout', `did not end within ${Math.round(this.#limitMs)} ms`)
    this.end(outcome('failure', 'attempt-timeout', error), error)
  }

  /** It is late: a second execution begins beside it, if that is paid for. */
  hedgeNow(): void {
    const { call } = this
    call.hedgeTimer = undefined
    const second = new GuardAttempt(this.#rules, call, this.#work, this.#resolve, this.#reject)
    if (!startHedge(this.#rules.stack, second)) return
    call.beside = second
    second.run()
  }
}

const { then } = Promise.prototype

function timeUp(attempt: GuardAttempt): void {
  attempt.timeUp()
}

function hedge(attempt: GuardAttempt): void {
  attempt.hedgeNow()
}

function giveUp(this: GuardCall, cause: unknown): void {
  const { late, beside } = this
  beside?.giveUp(cause)
  late?.giveUp(cause)
}
