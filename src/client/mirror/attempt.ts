/**
 * One mirror: a copy of what an attempt sent, with a deadline that is not the call's. It is tried
 * once, passes no policy, and no caller learns how it ends.
 */
import { Attempt } from '../../core/attempt.ts'
import { Call, type CallKind, type HashKey } from '../../core/call.ts'
import type { CallDetails } from '../../core/call-details.ts'
import type { Timer } from '../../core/clock.ts'
import { type Outcome, outcome } from '../../core/outcome.ts'
import { enter, leave } from '../../resilience/execution.ts'
import type { Abandonable } from './in-flight.ts'
import type { MirrorTarget } from './target.ts'

/**
 * Bytes of an answer that are read and dropped, so that the connection can be used again. A longer
 * one ends with its connection or stream.
 */
export const MOST_READ_BYTES = 1_048_576

/** The call of a mirror. It has no parent, so no caller cancels it and no deadline is inherited. */
class MirrorCall extends Call {
  readonly #of: Call

  constructor(of: Call, kind: CallKind, startedAt: number, deadlineAt: number) {
    super(kind, startedAt, deadlineAt, undefined)
    this.#of = of
    this.mirror = true
    this.trace = of.trace
    this.baggage = of.baggage
    this.overrides = of.overrides
    this.hashKey = of.hashKey
  }

  override keyOf(source: HashKey): string | undefined {
    return this.#of.keyOf(source)
  }

  override header(name: string): string | undefined {
    return this.#of.header(name)
  }

  override details(decisive: Attempt | undefined): CallDetails {
    return { ...super.details(decisive), path: this.#of.details(undefined).path }
  }
}

export abstract class MirrorAttempt extends Attempt implements Abandonable {
  protected readonly target: MirrorTarget
  protected over = false
  readonly #of: Call
  #timer: Timer | undefined = undefined
  #begun = false

  /** A copy of `of`. `timeoutMs`: that of the route. */
  constructor(target: MirrorTarget, of: Call, timeoutMs: number) {
    const { clock, peer } = target
    const now = clock.now()
    super(new MirrorCall(of, Object.freeze({ ...of.kind, service: peer, streaming: false }), now, now + timeoutMs))
    this.target = target
    this.#of = of
  }

  /** Asks the pool of its endpoint for a connection. */
  protected abstract connect(): void
  /** Leaves the pool's queue, or stops what is sent and received. */
  protected abstract abort(): void

  /** Begins after the turn in which the call is sent: the call goes first. */
  launch(): void {
    const { target } = this
    const dropped = target.inFlight.enter(this)
    if (dropped === undefined) setImmediate(begin, this)
    else target.drop(dropped)
  }

  /** @internal */
  begin(): void {
    if (this.over) return
    const { target, call } = this
    const now = target.clock.now()
    this.endpoint = target.cluster?.pick(call, now)
    if (this.endpoint === undefined) {
      this.over = true
      target.inFlight.leave(this)
      target.drop('no-endpoints')
      return
    }
    this.#begun = true
    this.startedAt = now
    // A target that does not exist any more must not keep the process alive.
    this.#timer = target.clock.startBackgroundTimer(Math.max(0, call.deadlineAt - now), timeUp, this as MirrorAttempt)
    enter(this)
    target.cluster!.learner?.admit(this)
    target.telemetry?.mirrorStarted(target, this, this.#of)
    try {
      this.connect()
    } catch (error) {
      this.#failed(error)
    }
  }

  /** Runs `work`, a callback from below. What it throws ends this mirror and nothing else. */
  protected guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#failed(error)
    }
  }

  abandon(): void {
    this.#stop(outcome('cancelled', 'closed'))
  }

  /** Its connection closes. */
  cut(cause: Error): void {
    this.#stop(outcome('failure', 'connection-lost', cause))
  }

  /** @internal */
  timeUp(): void {
    this.#stop(outcome(this.sent ? 'failure' : 'cancelled', 'deadline-exceeded'))
  }

  protected end(how: Outcome): void {
    if (this.over) return
    this.over = true
    const { target } = this
    target.inFlight.leave(this)
    if (!this.#begun) {
      target.drop('closed')
      return
    }
    if (this.#timer !== undefined) target.clock.stopTimer(this.#timer)
    this.endedAt = target.clock.now()
    leave(this)
    target.cluster!.learner?.settle(this, how)
    target.telemetry?.mirrorEnded(target, this, how)
  }

  #stop(how: Outcome): void {
    if (this.over) return
    const { endpoint } = this
    this.end(how)
    if (endpoint !== undefined) this.abort()
  }

  #failed(error: unknown): void {
    this.#stop(outcome('failure', 'protocol-error', error))
  }
}

function begin(mirror: MirrorAttempt): void {
  mirror.begin()
}

function timeUp(mirror: MirrorAttempt): void {
  mirror.timeUp()
}
