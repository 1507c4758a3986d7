/**
 * A simulated call: real stack, real cluster, real execution; only the transport is made up. It
 * does what the HTTP client does, in the same order: see src/client/http/attempt.ts.
 */
import { awaitEndpoint } from '../client/await-endpoint.ts'
import { Attempt } from '../core/attempt.ts'
import { Call, type CallKind } from '../core/call.ts'
import type { Clock, Timer } from '../core/clock.ts'
import type { ErrorCode } from '../core/errors.ts'
import { type Outcome, outcome } from '../core/outcome.ts'
import type { RequestHead } from '../core/request-head.ts'
import {
  endAttempt,
  endCall,
  hedgeDelay,
  NOT_DECISIVE,
  startAttempt,
  startCall,
  startHedge,
} from '../resilience/execution.ts'
import { LOST } from '../resilience/hedge.ts'
import { FINAL } from '../resilience/retry.ts'
import type { Stack } from '../resilience/stack.ts'
import type { SimulatedServer } from './server.ts'

/** An instance as the client knows it: its server, or `undefined` if nothing listens there. */
export type Instances = ReadonlyMap<string, SimulatedServer | undefined>

/** What a call needs of the client that sends it. */
export interface Door {
  readonly clock: Clock
  readonly kind: CallKind
  readonly stack: Stack
  readonly instances: Instances
  /** What the call asks for. @defaultValue nothing that a policy reads */
  readonly request?: RequestHead
  /** For a hashing balancer. @defaultValue the call has no key */
  readonly key?: string | undefined
}

/** Nothing listens: the refusal comes back within a round trip. */
export const REFUSED_MS = 0.2

/** Sends one call; `done` is called once with its outcome. */
export function sendCall(
  door: Door,
  timeoutMs: number,
  done: (call: Call, ended: Outcome) => void,
  parent?: Call,
): Call {
  const call = new SimulatedCall(door, timeoutMs, parent, done)
  startCall(door.stack, call)
  new SimulatedAttempt(call).start()
  return call
}

class SimulatedCall extends Call {
  readonly door: Door
  readonly stack: Stack
  readonly #done: (call: Call, ended: Outcome) => void
  /** The attempt that runs, and the hedge beside it, if it is late. */
  #late: SimulatedAttempt | undefined
  #beside: SimulatedAttempt | undefined
  #hedgeTimer: Timer | undefined

  constructor(door: Door, timeoutMs: number, parent: Call | undefined, done: (call: Call, ended: Outcome) => void) {
    const now = door.clock.now()
    super(door.kind, now, Math.min(now + timeoutMs, parent?.deadlineAt ?? Number.POSITIVE_INFINITY), parent)
    this.door = door
    this.stack = door.stack
    this.hashKey = door.key
    this.#done = done
  }

  endWith(verdict: Outcome['verdict'], code: ErrorCode): void {
    const ended = outcome(verdict, code)
    endCall(this.stack, this, ended)
    this.#done(this, ended)
  }

  /** Routes with sessions read the headers of calls. */
  override header(name: string): string | undefined {
    return this.door.request?.header(name)
  }

  told(ended: Outcome): void {
    this.#done(this, ended)
  }

  /** `attempt` runs. If it has not ended in time, another may begin beside it. */
  attemptRuns(attempt: SimulatedAttempt): void {
    this.whenCancelled = () => {
      const late = this.#late
      this.#beside?.giveUp()
      late?.giveUp()
    }
    if (attempt.hedge) return
    this.#late = attempt
    const ms = hedgeDelay(this.stack, attempt)
    if (ms < this.deadlineAt - attempt.startedAt) {
      this.#hedgeTimer = this.stack.clock.startTimer(ms, () => this.#hedgeNow(), undefined)
    }
  }

  /** `attempt` has decided the call, or another will follow it. The one beside it is returned. */
  attemptOver(attempt: SimulatedAttempt): SimulatedAttempt | undefined {
    if (this.#hedgeTimer !== undefined) this.stack.clock.stopTimer(this.#hedgeTimer)
    this.#hedgeTimer = undefined
    return attempt === this.#beside ? this.#late : this.#beside
  }

  #hedgeNow(): void {
    this.#hedgeTimer = undefined
    const beside = new SimulatedAttempt(this)
    if (!startHedge(this.stack, beside)) return
    this.#beside = beside
    beside.launch()
  }
}

class SimulatedAttempt extends Attempt {
  declare readonly call: SimulatedCall
  #over = false
  #timer: Timer | undefined
  #ownTimeout = false
  #giveUp: (() => void) | undefined

  /** `since`: when the call began to wait. */
  start(since?: number): void {
    const { stack } = this.call
    const code = startAttempt(stack, this)
    if (code === undefined) this.launch()
    else if (code === 'no-endpoints') this.#awaitEndpoint(since ?? stack.clock.now())
    else this.#notStarted(code)
  }

  #awaitEndpoint(since: number): void {
    const { call } = this
    awaitEndpoint(call.stack, call, since, false, (ended) => {
      if (ended === undefined) this.start(since)
      else this.#notStarted(ended)
    })
  }

  /** It was let start: goes on its way. */
  launch(): void {
    const { call } = this
    const { clock, retry } = call.stack
    let ms = call.deadlineAt - this.startedAt
    if (retry.settings.perTryTimeoutMs < ms && retry.bounds(this)) {
      ms = retry.settings.perTryTimeoutMs
      this.#ownTimeout = true
    }
    if (ms !== Number.POSITIVE_INFINITY) this.#timer = clock.startTimer(ms, timeUp, this)
    call.attemptRuns(this)
    const server = call.door.instances.get(this.endpoint!.id)
    if (server === undefined) {
      const timer = clock.startTimer(REFUSED_MS, () => this.#end(outcome('refused', 'connect-failed')), undefined)
      this.#giveUp = () => clock.stopTimer(timer)
      return
    }
    this.sent = true
    this.#giveUp = server.receive(this, (ended) => {
      this.#giveUp = undefined
      this.#end(ended)
    })
  }

  /** The other attempt has won. */
  lose(): void {
    this.#end(LOST)
  }

  /** Our side wants no more of it. */
  giveUp(): void {
    this.#end(outcome('cancelled', 'cancelled'))
  }

  timeUp(): void {
    this.#timer = undefined
    this.#end(outcome(this.sent ? 'failure' : 'refused', this.#ownTimeout ? 'attempt-timeout' : 'deadline-exceeded'))
  }

  #end(ended: Outcome): void {
    if (this.#over) return
    this.#over = true
    const { call } = this
    const { clock } = call.stack
    if (this.#timer !== undefined) clock.stopTimer(this.#timer)
    this.#giveUp?.()
    const waitMs = endAttempt(call.stack, this, ended)
    if (waitMs === NOT_DECISIVE) return
    const beside = call.attemptOver(this)
    if (waitMs === FINAL) {
      beside?.lose()
      call.told(ended)
      return
    }
    const next = new SimulatedAttempt(call)
    if (waitMs === 0) {
      next.start()
      return
    }
    const timer = clock.startTimer(waitMs, () => next.start(), undefined)
    call.whenCancelled = () => {
      clock.stopTimer(timer)
      next.start()
    }
  }

  #notStarted(code: ErrorCode): void {
    const { call } = this
    this.#over = true
    if (code === 'cancelled') call.endWith('cancelled', code)
    else if (code === 'deadline-exceeded') call.endWith(call.reports === undefined ? 'cancelled' : 'failure', code)
    else call.endWith('refused', code)
  }
}

function timeUp(attempt: SimulatedAttempt): void {
  attempt.timeUp()
}
