/**
 * One attempt of a client's call, for every protocol: it starts, waits, times out and ends exactly
 * once. Each protocol adds what it sends and receives.
 */
import { Attempt, waitedForPeerMs } from '../core/attempt.ts'
import type { Timer } from '../core/clock.ts'
import { type ErrorCode, isLate } from '../core/errors.ts'
import { LOAD, ORCA, ORCA_BIN } from '../core/headers.ts'
import { parseLoad } from '../core/load-header.ts'
import { outcome as makeOutcome, type Outcome } from '../core/outcome.ts'
import { MUX } from '../core/transport.ts'
import { endAttempt, NOT_DECISIVE, startAttempt } from '../resilience/execution.ts'
import { LOST } from '../resilience/hedge.ts'
import { AttemptFailed } from '../resilience/retry-loop.ts'
import { hadEnoughTime } from '../resilience/timeout-attribution.ts'
import { awaitEndpoint } from './await-endpoint.ts'
import type { ClientCall } from './call.ts'
import { readOrca } from './orca/read-orca.ts'

/** Any busy process has shorter stalls. */
const STALL_MS = 20
/** A peer that closes sooner on a pausing caller has another reason. */
const PATIENCE_MS = 500
/** The wire carries whole milliseconds, and the callee's timers are no finer than ours. */
const CLOCKS_DIFFER_MS = 5
/** The resolution of timers. */
const TIMER_MS = 1

export abstract class ClientAttempt extends Attempt {
  declare readonly call: ClientCall
  /** Settled by the attempt that decides the call. */
  protected resolve: (answer: unknown) => void
  protected reject: (error: unknown) => void
  /** p-retry waits for it, because another attempt was granted before. */
  protected readonly driven: boolean
  protected over = false
  /** It starts in this turn, so `startedAt` is still the current time. */
  protected launching = false
  #timer: Timer | undefined = undefined
  #timerAt = 0
  /** The timer is the attempt's own, not the call's deadline. */
  #ownTimeout = false
  /** Time returned to the peer after a stall of our loop, once. */
  #givenBackMs = 0

  constructor(call: ClientCall, resolve: (answer: unknown) => void, reject: (error: unknown) => void, driven: boolean) {
    super(call)
    this.driven = driven
    this.resolve = resolve
    this.reject = reject
  }

  /** Another attempt of the same call; the first to succeed answers. */
  abstract second(): ClientAttempt
  /** Asks the endpoint's pool for a connection. */
  protected abstract connect(): void
  /** Stops waiting for a connection. */
  protected abstract leaveQueue(): void
  /** Stops the transport. */
  protected abstract abort(): void
  /**
   * Whether a connection to its endpoint is established. If not, waiters are blocked on connecting
   * rather than on capacity.
   */
  protected abstract get reachable(): boolean
  /** Another attempt will answer in its place. */
  protected abstract superseded(): void
  /** It decided the call, and the call is over. */
  protected abstract conclude(outcome: Outcome): void
  /** What the peer waits for on our side, as a sentence. */
  protected abstract get holdUp(): string

  /** `now`: the current time, if known. `since`: when the call began to wait. */
  start(now?: number, since?: number): void {
    const code = startAttempt(this.call.stack, this, now)
    if (code === undefined) this.launch()
    else if (code === 'no-endpoints') this.#awaitEndpoint(since ?? this.call.stack.clock.now())
    else this.#notStarted(code)
  }

  /** Connects, once policies have admitted it. */
  launch(): void {
    const { call } = this
    const { clock, retry } = call.stack
    let ms = call.deadlineAt - this.startedAt
    if (retry.settings.perTryTimeoutMs < ms && retry.bounds(this)) {
      ms = retry.settings.perTryTimeoutMs
      this.#ownTimeout = true
    }
    if (ms !== Number.POSITIVE_INFINITY) {
      this.#timerAt = this.startedAt + ms
      this.#timer = clock.startTimer(ms, timeUpSoon, this)
    }
    call.attemptRuns(this)
    this.launching = true
    this.connect()
    this.launching = false
  }

  /**
   * After a stall of our loop, the answer may already be in the socket. One turn of the loop lets
   * it win.
   *
   * @internal
   */
  timerFired(): void {
    this.#timer = undefined
    setImmediate(timeUp, this)
  }

  /** The timer fired, after everything that already waited in our event loop. */
  timeUp(): void {
    if (this.over) return
    const { stack } = this.call
    const now = stack.clock.now()
    // The answer began in the turn in which the timer fired, and brought another bound. By time
    // alone this is not known: timers fire up to two milliseconds early.
    if (this.#timer !== undefined || this.#timerAt === Number.POSITIVE_INFINITY) return
    if (this.#givesBack(now)) return
    if (this.#ownTimeout && this.#leavesThePeerItsTime(now)) return
    const queued = !this.sent && this.reachable
    const code = !this.#ownTimeout ? 'deadline-exceeded' : !this.sent && !queued ? 'connect-failed' : 'attempt-timeout'
    const late = !queued && hadEnoughTime(stack, this, now)
    const verdict = !late && code === 'deadline-exceeded' ? 'cancelled' : this.sent ? 'failure' : 'refused'
    this.end(makeOutcome(verdict, code, this.ownSince > 0 ? new Error(this.holdUp) : undefined))
    this.abort()
  }

  /** Our side cancels it. */
  giveUp(cause: unknown): void {
    if (this.over) return
    this.end(this.#gaveUp(cause))
    this.abort()
  }

  /** The other attempt has won. */
  protected lose(): void {
    if (this.over) return
    this.end(LOST)
    this.abort()
  }

  /** Whether the peer waits for our side. Such time does not count against the peer. */
  protected peerWaits(waits: boolean): void {
    if (waits === this.ownSince > 0 || this.over) return
    const now = this.call.stack.clock.now()
    if (!waits) this.ownMs += now - this.ownSince
    this.ownSince = waits ? now : 0
  }

  /** `fields`: the headers or trailers in which the server may report its load. */
  protected takeReport(fields: Readonly<Record<string, string | string[] | undefined>>): void {
    // It has a binary field.
    if (this.transport === MUX) return
    const own = fields[LOAD]
    const text = fields[ORCA]
    const binary = fields[ORCA_BIN]
    if (own !== undefined) this.report = parseLoad(own, this.call.stack.clock.now())
    else if (text !== undefined || binary !== undefined) {
      this.report = readOrca(text, binary, this.call.stack.clock.now())
    }
  }

  /**
   * The peer reports that time is up. It is no failure of the peer if the bound was too short.
   */
  protected told(outcome: Outcome): Outcome {
    const { stack } = this.call
    const now = stack.clock.now()
    if ((this.ownSince === 0 && !this.#isAtDeadline(now)) || hadEnoughTime(stack, this, now)) return outcome
    return { ...outcome, verdict: 'cancelled', code: 'deadline-exceeded' }
  }

  /**
   * The caller has its answer. A retained promise would retain the answer and hide that the caller
   * dropped it.
   */
  protected forgetCaller(): void {
    this.resolve = this.reject = ignore
    this.call.forgetCaller()
  }

  /**
   * The connection broke. If the peer had waited for our side most of the time, it timed out on us.
   */
  protected lost(outcome: Outcome): Outcome {
    if (outcome.verdict === 'refused') return outcome
    const now = this.call.stack.clock.now()
    const totalMs = now - this.startedAt
    const ownMs = totalMs - waitedForPeerMs(this, now)
    return ownMs > PATIENCE_MS && 2 * ownMs > totalMs ? { ...outcome, verdict: 'cancelled' } : outcome
  }

  /**
   * Part of it has reached the caller, so no other attempt follows and `until` is its deadline.
   */
  protected commit(until: number): void {
    const { call } = this
    call.committed = true
    call.attemptOver(this)?.lose()
    this.rearm(until)
  }

  /** Ends it: notifies the execution, then the caller, unless another attempt follows. */
  protected end(outcome: Outcome): void {
    const { call } = this
    this.over = true
    this.stopTimer()
    this.leaveQueue()
    const waitMs = endAttempt(call.stack, this, outcome)
    if (waitMs === NOT_DECISIVE) {
      this.superseded()
      return
    }
    const beside = call.attemptOver(this)
    if (waitMs >= 0) {
      this.superseded()
      if (this.driven) this.reject(new AttemptFailed(waitMs))
      else call.again(waitMs)
      return
    }
    beside?.lose()
    this.conclude(outcome)
  }

  protected rearm(until: number): void {
    const { clock } = this.call.stack
    if (this.#timer !== undefined && !this.#ownTimeout && until === this.call.deadlineAt) return
    this.stopTimer()
    this.#ownTimeout = false
    this.#timerAt = until
    if (until !== Number.POSITIVE_INFINITY) this.#timer = clock.startTimer(until - clock.now(), timeUpSoon, this)
  }

  protected stopTimer(): void {
    if (this.#timer !== undefined) this.call.stack.clock.stopTimer(this.#timer)
    this.#timer = undefined
  }

  /** Whether the call's deadline is now, within the difference of two processes' clocks. */
  #isAtDeadline(now: number): boolean {
    const { startedAt, deadlineAt } = this.call
    if (deadlineAt === Number.POSITIVE_INFINITY) return false
    return deadlineAt - now <= Math.max(CLOCKS_DIFFER_MS, (deadlineAt - startedAt) / 10)
  }

  /**
   * The request that caused the call may reach their common deadline a moment before our timer
   * fires.
   */
  #gaveUp(cause: unknown): Outcome {
    const { stack } = this.call
    const now = stack.clock.now()
    if (!isLate(cause) || !this.#isAtDeadline(now)) return makeOutcome('cancelled', 'cancelled', cause)
    const late = this.sent && hadEnoughTime(stack, this, now)
    return makeOutcome(late ? 'failure' : 'cancelled', 'deadline-exceeded', cause)
  }

  /** Extends a per-try timeout by the time that our side used, up to the deadline. */
  #leavesThePeerItsTime(now: number): boolean {
    const { stack, deadlineAt } = this.call
    const perTryMs = stack.retry.settings.perTryTimeoutMs
    const leftMs = this.ownSince > 0 ? perTryMs : perTryMs - waitedForPeerMs(this, now)
    if (leftMs < TIMER_MS) return false
    this.#timerAt = Math.min(now + leftMs, deadlineAt)
    this.#ownTimeout = this.#timerAt < deadlineAt
    this.#timer = stack.clock.startTimer(this.#timerAt - now, timeUpSoon, this)
    return true
  }

  /**
   * Extends the timeout once by a stall of our loop, in which the peer went unheard. At most, the
   * timeout doubles.
   */
  #givesBack(now: number): boolean {
    if (this.#givenBackMs > 0) return false
    const { clock } = this.call.stack
    const stalledMs = Math.max(now - this.#timerAt, clock.stalledMsSince(this.startedAt))
    if (stalledMs <= STALL_MS) return false
    const backMs = Math.min(stalledMs, Math.max(0, this.#timerAt - this.startedAt))
    if (backMs === 0) return false
    this.#givenBackMs = backMs
    this.ownMs += backMs
    this.#timerAt = now + backMs
    this.#timer = clock.startTimer(backMs, timeUpSoon, this)
    return true
  }

  #awaitEndpoint(since: number): void {
    const { call } = this
    awaitEndpoint(call.stack, call, since, call.closed, (ended) => {
      if (ended !== undefined) {
        this.#notStarted(ended)
        return
      }
      const code = startAttempt(call.stack, this)
      if (code === undefined) this.launch()
      else if (code === 'no-endpoints') this.#awaitEndpoint(since)
      else this.#notStarted(code)
    })
  }

  #notStarted(code: ErrorCode): void {
    const { call } = this
    this.over = true
    const failedBefore = call.reports !== undefined
    if (code === 'cancelled') this.reject(call.endWith('cancelled', code, call.cancelledBy))
    else if (code === 'deadline-exceeded') {
      this.reject(call.endWith(failedBefore ? 'failure' : 'cancelled', code, undefined))
    } else this.reject(call.endWith('refused', code, undefined))
  }
}

function ignore(): void {}

function timeUpSoon(attempt: ClientAttempt): void {
  attempt.timerFired()
}

function timeUp(attempt: ClientAttempt): void {
  attempt.timeUp()
}
