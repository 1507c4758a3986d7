/**
 * A simulated instance: its own stack as the real server has it, then a handler. What the network
 * adds is left out; what matters is who waits for whom, and that a caller who has gone takes his
 * work out of the queue.
 */
import { Attempt } from '../core/attempt.ts'
import { Call, type CallKind } from '../core/call.ts'
import type { Clock, Timer } from '../core/clock.ts'
import type { LoadReport } from '../core/load-report.ts'
import { type Outcome, outcome, SUCCESS } from '../core/outcome.ts'
import { SILENT } from '../core/telemetry.ts'
import { endAttempt, endCall, startAttempt, startCall } from '../resilience/execution.ts'
import { compileServerStack, ServerLimits, type Stack } from '../resilience/stack.ts'
import { LoadMeter } from '../server/load-meter.ts'

/** Replies once, at some later instant; a cancelled call need not be answered. */
export type Handler = (call: Call, reply: (outcome: Outcome) => void) => void

export interface ServerParts {
  readonly clock: Clock
  handler: Handler
  /** @defaultValue a stack without limits */
  readonly stack?: Stack
  readonly onArrival?: () => void
  /** Of the network. @defaultValue 0 */
  readonly roundTripMs?: number
  /** Whether it reports its load with each answer, or what it makes of it. @defaultValue `false` */
  readonly reports?: boolean | ((truth: LoadReport) => LoadReport)
  /** How long an answer is under way beyond the round trip. @defaultValue 0 */
  readonly delayMs?: () => number
  /** The service of all callers. @defaultValue not known */
  readonly peer?: string
}

const KIND: CallKind = Object.freeze({
  service: 'simulated',
  method: 'GET',
  protocol: 'http',
  streaming: false,
  idempotent: false,
})
const STREAM: CallKind = Object.freeze({ ...KIND, streaming: true })
/** A refusal takes a way to the server and back. */
const REFUSAL_MS = 0.5
/** As a client sees a server that turned a request away unread: marked as not executed. */
const TURNED_AWAY = outcome('refused', 'refused-by-peer', undefined, 503)
const TOO_MANY = outcome('refused', 'refused-by-peer', undefined, 429)

export class SimulatedServer {
  /** May be replaced at any time: that is how an instance falls ill. */
  handler: Handler
  /** Requests that arrived, refused ones included. */
  arrived = 0
  refused = 0
  readonly #clock: Clock
  readonly #stack: Stack
  readonly #onArrival: (() => void) | undefined
  readonly #halfTripMs: number
  readonly #delayMs: (() => number) | undefined
  readonly #meter: LoadMeter | undefined
  readonly #reported: ((truth: LoadReport) => LoadReport) | undefined
  readonly #peer: string | undefined

  constructor(parts: ServerParts) {
    this.#clock = parts.clock
    this.handler = parts.handler
    this.#onArrival = parts.onArrival
    this.#peer = parts.peer
    this.#halfTripMs = (parts.roundTripMs ?? 0) / 2
    this.#delayMs = parts.delayMs
    const { reports = false } = parts
    this.#meter = reports === false ? undefined : new LoadMeter()
    this.#reported = reports === true || reports === false ? undefined : reports
    this.#stack =
      parts.stack ??
      compileServerStack({
        state: new ServerLimits(parts.clock),
        telemetry: SILENT,
        clock: parts.clock,
      })
  }

  /** The attempt as its headers tell of it. Returns what the caller does to give up. */
  receive(from: Attempt, answer: (outcome: Outcome) => void): () => void {
    if (this.#halfTripMs === 0) return this.#arrive(from, answer)
    const clock = this.#clock
    const ms = this.#halfTripMs
    // Read when the answer arrives: the caller must not know earlier.
    const reply = (ended: Outcome): void => {
      from.report = report
      answer(ended)
    }
    let report: LoadReport | undefined
    let giveUp: (() => void) | undefined
    let travelling: Timer | undefined = clock.startTimer(
      ms,
      () => {
        travelling = undefined
        giveUp = this.#arrive(from, (ended, load) => {
          giveUp = undefined
          report = load
          travelling = clock.startTimer(ms + (this.#delayMs?.() ?? 0), reply, ended)
        })
      },
      undefined,
    )
    return () => {
      if (travelling !== undefined) clock.stopTimer(travelling)
      if (giveUp !== undefined) clock.startTimer(ms, giveUp, undefined)
    }
  }

  #arrive(from: Attempt, answer: (outcome: Outcome, report?: LoadReport) => void): () => void {
    const stack = this.#stack
    this.arrived += 1
    this.#onArrival?.()
    const call = new Call(from.call.kind.streaming ? STREAM : KIND, this.#clock.now(), from.call.deadlineAt, undefined)
    call.previousAttempts = from.number
    call.peer = this.#peer
    startCall(stack, call)
    const attempt = new Attempt(call)
    const refusal = startAttempt(stack, attempt)
    if (refusal !== undefined) {
      this.refused += 1
      endCall(stack, call, outcome('refused', refusal))
      const answered = refusal === 'rate-limited' ? TOO_MANY : TURNED_AWAY
      const timer = this.#clock.startTimer(REFUSAL_MS, answer, answered)
      return () => this.#clock.stopTimer(timer)
    }
    const arrivedAt = this.#clock.now()
    const others = this.#meter?.arrived() ?? 0
    this.handler(call, (ended) => {
      const report = this.#report(others, arrivedAt, call.kind, ended)
      if (!attempt.running) return
      endAttempt(stack, attempt, ended)
      answer(ended, report)
    })
    return () => {
      if (!attempt.running) return
      call.cancel('the caller has gone')
      endAttempt(stack, attempt, GONE)
    }
  }

  #report(others: number, arrivedAt: number, kind: CallKind, { verdict }: Outcome): LoadReport | undefined {
    const meter = this.#meter
    if (meter === undefined) return undefined
    const servedMs = this.#clock.now() - arrivedAt
    if (verdict === 'success' && !kind.streaming) meter.answered(others, servedMs)
    else meter.ended()
    const truth = { inFlight: meter.inFlight, latencyMs: meter.latencyMs(), servedMs }
    return this.#reported?.(truth) ?? truth
  }
}

const GONE = outcome('cancelled', 'cancelled')

/** Serves any number at once, each for as long as `durationMs` says. */
export function answersAfter(clock: Clock, durationMs: () => number, end: Outcome = SUCCESS): Handler {
  return (call, reply) => {
    const timer = clock.startTimer(durationMs(), reply, end)
    call.whenCancelled = () => clock.stopTimer(timer)
  }
}

/** Takes the request and never answers. */
export const hangs: Handler = () => {}
