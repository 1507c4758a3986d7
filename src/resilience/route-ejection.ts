/** A service's ejection by the settings of one route: endpoints and their counts are shared. */
import type { Attempt } from '../core/attempt.ts'
import type { ErrorCode } from '../core/errors.ts'
import type { Outcome } from '../core/outcome.ts'
import type { Policy } from '../core/policy.ts'
import type { EjectionPolicy } from './ejection.ts'
import type { EjectionSettings } from './ejection-settings.ts'

export class RouteEjection implements Policy {
  readonly name = 'ejection'
  readonly #shared: EjectionPolicy
  readonly #settings: EjectionSettings

  constructor(shared: EjectionPolicy, settings: EjectionSettings) {
    this.#shared = shared
    this.#settings = settings
  }

  admit(attempt: Attempt): ErrorCode | undefined {
    return this.#shared.admit(attempt)
  }

  settle(attempt: Attempt, outcome: Outcome): void {
    this.#shared.settleBy(this.#settings, attempt, outcome)
  }

  answered(attempt: Attempt): void {
    this.#shared.answered(attempt)
  }
}
