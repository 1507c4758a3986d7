/**
 * The circuit breaker of a service or function: refuses calls while too large a share of them
 * fails. opossum counts and decides when to open; this file decides which call probes and what
 * counts.
 *
 * - closed -> open: `minimumCalls` within the window, more than `errorThreshold` of them failed,
 *   and one more fails
 * - open -> half-open: a call asks after `resetAfter`; it becomes the probe, all others are refused
 * - open -> half-open: a call from before it opened is the first to be answered well; each further
 *   answer to such a call admits one more probe
 * - half-open -> closed: the probe succeeds, a stream with the head of its answer; the window
 *   starts empty
 * - half-open -> open: the probe fails
 * - half-open -> half-open: the probe was cancelled or refused here, which teaches nothing; the
 *   next call probes. So it does beside a probe that has lasted for `resetAfter`; the first of them
 *   to end decides
 */
import type { Attempt } from '../core/attempt.ts'
import type { Clock } from '../core/clock.ts'
import type { ErrorCode } from '../core/errors.ts'
import type { Outcome } from '../core/outcome.ts'
import type { Policy } from '../core/policy.ts'
import { withDefault } from '../options/fields.ts'
import { duration, integer, share } from '../options/quantities.ts'
import { classify } from './classification.ts'
import { definePolicy, type OptionsOf, type PolicyDefinition, type SettingsOf } from './define-policy.ts'
import { createCircuit, type DrivenCircuit, type OpossumCircuit } from './opossum-circuit.ts'
import { Recovery } from './recovery.ts'

const definition = definePolicy('circuitBreaker', {
  /**
   * It opens when more than this share of calls failed: `'50%'` or 0.5. @defaultValue `'50%'`
   * (Hystrix 1.5, as the other three)
   */
  errorThreshold: withDefault(share({ min: 0.01 }), '50%'),
  /** How far back calls count. @defaultValue `'10s'` */
  window: withDefault(duration({ min: 1_000, max: 600_000 }), '10s'),
  /** Calls within the window below which it never opens. @defaultValue `20` */
  minimumCalls: withDefault(integer({ min: 1, max: 100_000 }), 20),
  /** How long it stays open before one call may probe. @defaultValue `'5s'` */
  resetAfter: withDefault(duration({ min: 10, max: 3_600_000 }), '5s'),
})

/** When a service's breaker opens and for how long. */
export interface CircuitBreakerOptions extends OptionsOf<typeof definition> {}
export interface CircuitBreakerSettings extends SettingsOf<typeof definition> {}
export const CIRCUIT_BREAKER: PolicyDefinition<CircuitBreakerOptions, CircuitBreakerSettings> = definition

const STATES = Object.freeze({ open: 'open', halfOpen: 'half-open', close: 'closed' } as const)

export type CircuitState = 'closed' | 'open' | 'half-open'

/** Told of each change of a breaker's state. */
export type CircuitListener = (service: string, from: CircuitState, to: CircuitState) => void

/**
 * Stands in the `service` part of a stack. Overload (429, 503) and refusals by the peer count as
 * failures here: if they are what a call ends with, retries elsewhere did not help either, and the
 * service as a whole needs fewer calls.
 */
export class CircuitBreakerPolicy implements Policy {
  readonly name = 'circuit-breaker'
  readonly service: string
  readonly #clock: Clock
  readonly #circuit: DrivenCircuit
  #onTransition: CircuitListener | undefined
  #resetAfterMs: number
  #state: CircuitState = 'closed'
  /** Of the last change. What was admitted before it has no say after it. */
  #changedAt = Number.NEGATIVE_INFINITY
  /** When it ceased to be closed. */
  #openedAt = Number.NEGATIVE_INFINITY
  /** One, unless it takes long. */
  readonly #probes = new Set<Attempt>()
  #probedAt = 0
  /** Good answers from before it opened, each of which admits a probe. */
  #answers = 0
  #windowMs: number
  readonly #recovery = new Recovery()

  constructor(service: string, settings: CircuitBreakerSettings, clock: Clock, onTransition?: CircuitListener) {
    this.service = service
    this.#clock = clock
    this.#onTransition = onTransition
    this.#resetAfterMs = settings.resetAfterMs
    this.#windowMs = settings.windowMs
    // By events, not by return values, because operators may open and close a circuit by hand.
    this.#circuit = createCircuit(service, settings, clock, (event) => this.#changed(STATES[event]))
  }

  get circuit(): OpossumCircuit {
    return this.#circuit
  }

  get state(): CircuitState {
    return this.#state
  }

  /** A probe is on its way. */
  get probing(): boolean {
    return this.#probes.size > 0
  }

  /** Until a call may probe. How long a probe takes is not known. */
  get retryAfterMs(): number {
    if (this.#state !== 'open' || !this.#circuit.enabled) return 0
    return Math.max(0, this.#changedAt + this.#resetAfterMs - this.#clock.now())
  }

  /** New settings; state and counts stay. */
  configure(settings: CircuitBreakerSettings): void {
    this.#resetAfterMs = settings.resetAfterMs
    this.#windowMs = settings.windowMs
    this.#circuit.configure(settings)
  }

  admit(attempt: Attempt): ErrorCode | undefined {
    if (this.#state === 'closed' || !this.#circuit.enabled) {
      this.#recovery.began()
      return undefined
    }
    const now = attempt.startedAt || this.#clock.now()
    if (this.#state === 'open') {
      if (now < this.#changedAt + this.#resetAfterMs) return this.#refuse(now)
      this.#circuit.wake()
    } else if (this.#answers > 0) this.#answers -= 1
    else if (this.#probes.size > 0 && now < this.#probedAt + this.#resetAfterMs) return this.#refuse(now)
    this.#probes.add(attempt)
    this.#probedAt = now
    return undefined
  }

  /** A probe that is a stream has found out with the head of its answer. */
  answered(attempt: Attempt): void {
    const now = this.#clock.now()
    const { startedAt } = attempt.call
    const isBack = this.#recovery.good(startedAt, now)
    const probe = this.#probes.delete(attempt)
    if (!this.#circuit.enabled) return
    if (probe) this.#circuit.succeeded(now - startedAt, now)
    else this.#heard(startedAt, isBack)
  }

  settle(attempt: Attempt, outcome: Outcome): void {
    const probe = this.#probes.delete(attempt)
    if (!this.#circuit.enabled) return
    const verdict = classify(outcome)
    if (verdict === 'none') return
    const { startedAt } = attempt.call
    const now = attempt.endedAt || this.#clock.now()
    const isGood = verdict === 'good'
    const isBack = isGood && this.#recovery.good(startedAt, now)
    const counts = isGood || this.#recovery.counts(attempt, startedAt)
    if (!probe && (this.#state !== 'closed' || startedAt < this.#changedAt)) {
      if (isGood) this.#heard(startedAt, isBack)
      return
    }
    if (isGood) this.#circuit.succeeded(now - startedAt, now)
    // It was served well for longer than the window looks back; its endpoint answers for how it
    // ended.
    else if (attempt.begun && now >= attempt.startedAt + this.#windowMs) return
    else if (counts || probe) this.#circuit.failed(outcome.cause ?? outcome, now)
  }

  /**
   * A call that began at `startedAt` was answered well. Of a probe that another one has overtaken,
   * the pause stays.
   */
  #heard(startedAt: number, isBack: boolean): void {
    if (startedAt >= this.#openedAt) return
    if (isBack) this.#circuit.wake()
    // The probe may wait behind all that the service has not answered meanwhile.
    else if (this.#state === 'half-open' && this.#probes.size > 0) this.#answers += 1
  }

  /** Takes it off the list of circuits. Listeners see it close: nothing is refused any more. */
  close(): void {
    this.#circuit.shutdown()
    this.#changed('closed')
    this.#onTransition = undefined
  }

  #refuse(now: number): ErrorCode {
    this.#circuit.rejected(now)
    return 'circuit-open'
  }

  #changed(to: CircuitState): void {
    const from = this.#state
    this.#state = to
    if (to !== 'half-open') this.#probes.clear()
    this.#answers = 0
    this.#changedAt = this.#clock.now()
    if (from === 'closed') this.#openedAt = this.#changedAt
    if (from !== to) this.#onTransition?.(this.service, from, to)
  }
}
