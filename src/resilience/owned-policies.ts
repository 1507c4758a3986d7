/**
 * The endpoint policies of several services behind one stack: each attempt is guarded by those of
 * the service that owns its endpoint.
 */
import type { Attempt } from '../core/attempt.ts'
import type { ErrorCode } from '../core/errors.ts'
import type { Outcome } from '../core/outcome.ts'
import type { Policy } from '../core/policy.ts'
import { admitAll, settleAll } from './policy-list.ts'

const NONE: readonly Policy[] = Object.freeze([])

export class OwnedPolicies implements Policy {
  readonly name = 'owned'
  readonly #byService: ReadonlyMap<string, readonly Policy[]>

  /** `byService`: never changed afterwards, so that an attempt is settled where it was admitted. */
  constructor(byService: ReadonlyMap<string, readonly Policy[]>) {
    this.#byService = byService
  }

  admit(attempt: Attempt): ErrorCode | undefined {
    return admitAll(this.#of(attempt), attempt)
  }

  settle(attempt: Attempt, outcome: Outcome): void {
    settleAll(this.#of(attempt), attempt, outcome)
  }

  answered(attempt: Attempt): void {
    for (const policy of this.#of(attempt)) policy.answered?.(attempt)
  }

  #of({ endpoint }: Attempt): readonly Policy[] {
    return (endpoint === undefined ? undefined : this.#byService.get(endpoint.service)) ?? NONE
  }
}
