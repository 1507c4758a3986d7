/**
 * One call of a client, for every protocol: it runs attempts, hedges a late one and hands over to
 * retries. It also ends calls that fail before any attempt.
 */
import { Call, type CallKind } from '../core/call.ts'
import type { Timer } from '../core/clock.ts'
import type { ErrorCode } from '../core/errors.ts'
import { outcome as makeOutcome, type Outcome } from '../core/outcome.ts'
import { endCall, hedgeDelay, startCall, startHedge } from '../resilience/execution.ts'
import { retryLoop } from '../resilience/retry-loop.ts'
import type { Provisional, Stack } from '../resilience/stack.ts'
import type { ClientAttempt } from './attempt.ts'
import { keepSide } from './call-context.ts'
import { holdUp, type LocalAnswer, localStep } from './local-end.ts'
import { type CallMirrors, drawMirrors } from './mirror/call-mirrors.ts'
import type { Routed } from './routed.ts'
import type { Selection } from './selection.ts'
import type { Transport } from './transport.ts'

export abstract class ClientCall extends Call {
  /** Replaced once if the call began before the policy of its service was known. */
  stack: Stack
  declare routed: Routed | undefined
  /** Settle the caller's promise; set before the first attempt. */
  protected resolve!: (answer: unknown) => void
  protected reject!: (error: unknown) => void
  /** The attempt that runs, and the hedge beside it, if it is late. */
  #late: ClientAttempt | undefined = undefined
  #hedge: ClientAttempt | undefined = undefined
  #hedgeTimer: Timer | undefined = undefined
  #mirrors: CallMirrors | undefined = undefined

  /** `timeoutMs`: the caller's bound. */
  constructor({ stack, kind, routed }: Selection, timeoutMs: number, parent: Call | undefined) {
    const now = stack.clock.now()
    const own = now + Math.min(timeoutMs, stack.timeoutMs)
    super(kind, now, parent === undefined ? own : Math.min(own, parent.bindsUntil), parent)
    this.stack = stack
    this.routed = routed
  }

  abstract readonly transport: Pick<Transport, 'closed'>
  /** Releases what the caller gave. The call does nothing more. */
  abstract finish(): void
  /** The error that the caller receives for `outcome`. */
  abstract failure(outcome: Outcome): unknown
  protected abstract attempt(
    resolve: (answer: unknown) => void,
    reject: (error: unknown) => void,
    driven: boolean,
  ): ClientAttempt
  /** What `reject` receives after p-retry has passed it on. */
  protected passedOn(error: unknown): unknown {
    return error
  }

  /** Whether the mesh has been closed. */
  get closed(): boolean {
    return this.transport.closed
  }

  /** Its mirrors, drawn when an attempt first asks. A call that is a mirror has none. */
  get mirrors(): CallMirrors | undefined {
    const targets = this.routed?.mirrors
    if (targets === undefined || targets.length === 0 || this.mirror) return undefined
    this.#mirrors ??= drawMirrors(targets)
    return this.#mirrors
  }

  /** No further attempts, whatever happens to the first. */
  once(): void {
    this.idempotent = false
    this.committed = true
  }

  /** Begins the call and notifies observers and parent. */
  protected begin(): void {
    startCall(this.stack, this)
    if (this.trace === undefined && this.parent !== undefined) this.trace = this.parent.trace
  }

  /** `now`: the current time, if known. */
  protected startFirst(now?: number): void {
    const { provisional } = this.stack
    if (provisional !== undefined) this.#awaitPolicy(provisional)
    else this.#proceed(now, undefined)
  }

  /** `since`: when the call began to wait. */
  #proceed(now: number | undefined, since: number | undefined): void {
    if (this.routed?.local === true) this.#locally(this.routed, since)
    else this.attempt(this.resolve, this.reject, false).start(now, since)
  }

  /** A route answers it, or injects a fault. */
  #locally(routed: Routed, since: number | undefined): void {
    const { clock } = this.stack
    const { delayMs, answer } = localStep(routed, this.kind.protocol, (name) => this.header(name), clock)
    const proceed = (ended: ErrorCode | undefined): void => {
      if (ended !== undefined) this.reject(this.endWith('cancelled', ended, this.cancelledBy))
      else if (answer === undefined) this.attempt(this.resolve, this.reject, false).start(undefined, since)
      else this.answerBy(answer, routed)
    }
    if (this.cancelled) proceed('cancelled')
    else if (clock.now() >= this.deadlineAt) proceed('deadline-exceeded')
    else if (delayMs > 0) holdUp(this, delayMs, clock, proceed)
    else proceed(undefined)
  }

  /** The value of a header of its request. */
  abstract override header(name: string): string | undefined
  /** Settles it with an answer that its route makes. */
  protected abstract answerBy(answer: LocalAnswer, routed: Routed): void

  /** It ends without an attempt. */
  protected endLocally(outcome: Outcome): void {
    endCall(this.stack, this, outcome)
    this.finish()
  }

  /** Asks its service once more: now its head and the service's policy are known. */
  protected abstract selectAgain(): Selection

  /** Takes over what was selected, as if it had been from the start. */
  protected take({ stack, kind, routed }: Selection): void {
    this.stack = stack
    this.deadlineAt = Math.min(this.deadlineAt, this.startedAt + stack.timeoutMs)
    ;(this as { kind: CallKind }).kind = kind
    this.routed = routed
    this.keepSide()
  }

  /** A split by a member of the baggage decides for all calls of the request. */
  protected keepSide(): void {
    const { routed } = this
    if (routed?.sideBy !== undefined) keepSide(this, routed.sideBy, routed.target!.key)
  }

  /** The policy of its service is known. */
  protected policyArrived(_provisional: Provisional): void {
    this.take(this.selectAgain())
    if (this.routed !== undefined) this.stack.telemetry.callRouted?.(this)
  }

  #awaitPolicy(provisional: Provisional): void {
    if (this.cancelled) {
      this.reject(this.endWith('cancelled', 'cancelled', this.cancelledBy))
      return
    }
    const since = this.stack.clock.now()
    provisional.await(this, since, (ended, cause = this.cancelledBy) => {
      if (ended === undefined) {
        this.policyArrived(provisional)
        this.#proceed(undefined, since)
      } else {
        const isOurs = ended === 'cancelled' || ended === 'deadline-exceeded'
        this.reject(this.endWith(isOurs ? 'cancelled' : 'refused', ended, cause))
      }
    })
  }

  /** `attempt` runs. If it has not ended in time, another may begin beside it. */
  attemptRuns(attempt: ClientAttempt): void {
    this.whenCancelled = giveUp
    if (attempt.hedge) return
    this.#late = attempt
    const ms = hedgeDelay(this.stack, attempt)
    if (ms < this.deadlineAt - attempt.startedAt) this.#hedgeTimer = this.stack.clock.startTimer(ms, hedge, this)
  }

  /** `attempt` was chosen or has ended. Returns the attempt beside it. */
  attemptOver(attempt: ClientAttempt): ClientAttempt | undefined {
    if (this.#hedgeTimer !== undefined) this.stack.clock.stopTimer(this.#hedgeTimer)
    this.#hedgeTimer = undefined
    if (this.#hedge === undefined) return undefined
    return attempt === this.#hedge ? this.#late : this.#hedge
  }

  /** @internal */
  forgetCaller(): void {
    this.resolve = this.reject = ignore
  }

  /** @internal */
  hedgeNow(): void {
    this.#hedgeTimer = undefined
    const beside = this.#late!.second()
    if (!startHedge(this.stack, beside)) return
    this.#hedge = beside
    beside.launch()
  }

  /** @internal */
  giveUpRunning(cause: unknown): void {
    const late = this.#late
    this.#hedge?.giveUp(cause)
    late?.giveUp(cause)
  }

  /** The first attempt failed and a retry was granted; p-retry drives the rest. */
  again(waitMs: number): void {
    retryLoop(
      this.stack,
      this,
      waitMs,
      () => new Promise<unknown>((resolve, reject) => this.attempt(resolve, reject, true).start()),
    ).then(this.resolve, (error) => this.reject(this.passedOn(error)))
  }

  /** The caller's request is over: what was not copied by now never will be. */
  protected dropMirrors(): void {
    this.#mirrors?.drop('request-incomplete')
  }

  /** Ends the call although no attempt has ended. */
  endWith(verdict: Outcome['verdict'], code: NonNullable<Outcome['code']>, cause: unknown): unknown {
    const outcome = makeOutcome(verdict, code, cause)
    endCall(this.stack, this, outcome)
    this.finish()
    return this.failure(outcome)
  }
}

function ignore(): void {}

function hedge(call: ClientCall): void {
  call.hedgeNow()
}

/** One function for all calls, which run it as a method. */
function giveUp(this: ClientCall, cause: unknown): void {
  this.giveUpRunning(cause)
}
