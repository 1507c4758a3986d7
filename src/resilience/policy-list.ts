/** Policies that are asked together, in the order of a list. */
import type { Attempt } from '../core/attempt.ts'
import type { ErrorCode } from '../core/errors.ts'
import { NOT_STARTED, type Outcome } from '../core/outcome.ts'
import type { Policy } from '../core/policy.ts'

/** All or none: if one refuses, those asked before it learn that nothing was started. */
export function admitAll(policies: readonly Policy[], attempt: Attempt): ErrorCode | undefined {
  for (let i = 0; i < policies.length; i++) {
    const refusal = policies[i]!.admit(attempt)
    if (refusal !== undefined) {
      for (let j = i - 1; j >= 0; j--) policies[j]!.settle(attempt, NOT_STARTED)
      return refusal
    }
  }
  return undefined
}

/** How long one of them goes on to refuse, in ms; `undefined` if none knows. */
export function retryAfterMs(policies: readonly Policy[]): number | undefined {
  let longest = 0
  for (const policy of policies) longest = Math.max(longest, policy.retryAfterMs ?? 0)
  return longest > 0 ? longest : undefined
}

/** Last asked, first notified. */
export function settleAll(policies: readonly Policy[], attempt: Attempt, outcome: Outcome): void {
  for (let i = policies.length - 1; i >= 0; i--) policies[i]!.settle(attempt, outcome)
}
