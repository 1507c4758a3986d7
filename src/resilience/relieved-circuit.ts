/**
 * The circuit of a service whose calls go on to other endpoints when some fail. A failure that the
 * others do not share does not count: ejection moves the calls, and an open circuit would end them.
 */
import type { Attempt } from '../core/attempt.ts'
import type { Clock } from '../core/clock.ts'
import type { ErrorCode } from '../core/errors.ts'
import { outcome as makeOutcome, type Outcome } from '../core/outcome.ts'
import type { Policy } from '../core/policy.ts'
import type { Alternative } from './alternative.ts'
import { CIRCUIT_BREAKER } from './circuit-breaker.ts'

/** Releases what was held, and teaches nothing. */
const NO_WORD: Outcome = makeOutcome('cancelled', 'cancelled')

export class RelievedCircuit implements Policy {
  readonly name: string
  readonly #circuit: Policy
  readonly #relief: Alternative
  readonly #clock: Clock

  constructor(circuit: Policy, relief: Alternative, clock: Clock) {
    this.name = circuit.name
    this.#circuit = circuit
    this.#relief = relief
    this.#clock = clock
  }

  get retryAfterMs(): number {
    return this.#circuit.retryAfterMs ?? 0
  }

  admit(attempt: Attempt): ErrorCode | undefined {
    return this.#circuit.admit(attempt)
  }

  answered(attempt: Attempt): void {
    this.#circuit.answered?.(attempt)
  }

  settle(attempt: Attempt, outcome: Outcome): void {
    this.#circuit.settle(attempt, this.#isRelieved(attempt, outcome) ? NO_WORD : outcome)
  }

  #isRelieved({ call, endedAt }: Attempt, { verdict }: Outcome): boolean {
    if (verdict === 'success' || call.endpoint === undefined) return false
    const share = this.#relief.failureShareBehind(call.endpoint, endedAt || this.#clock.now())
    return share !== undefined && share < CIRCUIT_BREAKER.defaults.errorThreshold
  }
}
