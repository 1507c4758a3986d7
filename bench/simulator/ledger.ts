/**
 * Keeps the books of a stack while a world full of faults runs over it: who was admitted, who was
 * told, what retries were paid for.
 */
import type { Attempt } from '../../src/core/attempt.ts'
import type { Call } from '../../src/core/call.ts'
import type { Clock } from '../../src/core/clock.ts'
import type { Endpoint } from '../../src/core/endpoint.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import type { Policy } from '../../src/core/policy.ts'
import { SILENT, type Telemetry } from '../../src/core/telemetry.ts'
import { isRerouted, MOST_REFUSED } from '../../src/resilience/retry.ts'
import type { RetryBudgetSettings } from '../../src/resilience/retry-budget.ts'
import type { Stack } from '../../src/resilience/stack.ts'

/** Stands among the policies of a stack; every attempt it admits must be settled once. */
class Balance implements Policy {
  readonly name = 'balance'
  readonly #open = new Set<Attempt>()
  readonly #breaches: Set<string>
  readonly #onAdmit: ((attempt: Attempt) => void) | undefined

  constructor(breaches: Set<string>, onAdmit?: (attempt: Attempt) => void) {
    this.#breaches = breaches
    this.#onAdmit = onAdmit
  }

  get open(): number {
    return this.#open.size
  }

  admit(attempt: Attempt): undefined {
    if (this.#open.has(attempt)) this.#breaches.add('an attempt was admitted twice')
    this.#open.add(attempt)
    this.#onAdmit?.(attempt)
    return undefined
  }

  settle(attempt: Attempt, _outcome: Outcome): void {
    if (!this.#open.delete(attempt)) this.#breaches.add('an attempt was settled that was not admitted, or twice')
  }
}

export class Ledger {
  readonly breaches: Set<string>
  readonly #clock: Clock
  readonly #balances: Balance[] = []
  readonly #deposits: number[] = []
  readonly #withdrawals: number[] = []
  #endpoints: () => readonly Endpoint[] = () => []
  #ratio = 0
  #minPerSecond = 0
  readonly #reroutes = new WeakMap<Call, number>()
  readonly telemetry: Telemetry

  constructor(clock: Clock, breaches: Set<string>) {
    this.#clock = clock
    this.breaches = breaches
    this.telemetry = {
      ...SILENT,
      attemptStarted: (attempt) => {
        if (attempt.hedge) this.#withdrawn()
      },
      attemptEnded: (attempt, outcome, waitMs) => {
        if (waitMs < 0) return
        if (isRerouted(attempt, outcome, this.#endpoints())) this.#rerouted(attempt.call)
        else this.#withdrawn()
      },
    }
  }

  /**
   * The same stack with a balance before and behind its policies, so that refusals by any of them
   * are seen.
   */
  watch(stack: Stack, budget: RetryBudgetSettings): Stack {
    // After a change of configuration the larger of the two bounds holds.
    this.#endpoints = () => stack.cluster?.endpoints ?? []
    this.#ratio = Math.max(this.#ratio, budget.ratio)
    this.#minPerSecond = Math.max(this.#minPerSecond, budget.minPerSecond)
    const balance = (onAdmit?: (attempt: Attempt) => void): Balance => {
      const made = new Balance(this.breaches, onAdmit)
      this.#balances.push(made)
      return made
    }
    return {
      ...stack,
      service: [balance(), ...stack.service, balance((attempt) => this.#deposited(attempt.call))],
      endpoint: [balance(), ...stack.endpoint, balance()],
    }
  }

  /** When everything has ended. */
  close(): void {
    for (const { open } of this.#balances) if (open > 0) this.breaches.add('an attempt was admitted and never settled')
  }

  #deposited(call: Call): void {
    if (call.parent === undefined || call.parent.previousAttempts === 0) this.#deposits.push(this.#clock.now())
  }

  /** Without the budget, but only so often in one call. */
  #rerouted(call: Call): void {
    const before = (this.#reroutes.get(call) ?? 0) + 1
    this.#reroutes.set(call, before)
    if (before > MOST_REFUSED) this.breaches.add('a call was re-routed too often')
  }

  #withdrawn(): void {
    const now = this.#clock.now()
    this.#withdrawals.push(now)
    // A withdrawal lives on deposits of the last second, and what they paid for lies within nine
    // full slices of it.
    const granted = countSince(this.#withdrawals, now - 900)
    const fed = countSince(this.#deposits, now - 2_000)
    if (granted > fed * this.#ratio + this.#minPerSecond + 1e-6)
      this.breaches.add('the budget of a second was exceeded')
    const all = this.#deposits.length * this.#ratio + (now / 1_000 + 1) * this.#minPerSecond
    if (this.#withdrawals.length > all + 1e-6) this.breaches.add('the budget was exceeded in all')
  }
}

function countSince(instants: readonly number[], from: number): number {
  let count = 0
  for (let i = instants.length - 1; i >= 0 && instants[i]! > from; i--) count += 1
  return count
}
