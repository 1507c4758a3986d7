/** What a server door runs its calls through, without a policy document; also for processes of their own. */
import { systemClock } from '../../src/core/clock.ts'
import type { Policy } from '../../src/core/policy.ts'
import { SILENT } from '../../src/core/telemetry.ts'
import { RETRY_DEFAULTS, RetryPolicy } from '../../src/resilience/retry.ts'
import { RetryBudget } from '../../src/resilience/retry-budget.ts'
import type { Stack } from '../../src/resilience/stack.ts'

export function serverStack(policies: readonly Policy[] = [], timeoutMs = 10_000): Stack {
  const budget = new RetryBudget(RETRY_DEFAULTS.budget, systemClock)
  return {
    timeoutMs,
    service: policies,
    endpoint: [],
    retry: new RetryPolicy({ ...RETRY_DEFAULTS, attempts: 1 }, budget, systemClock),
    budget,
    cluster: undefined,
    telemetry: SILENT,
    clock: systemClock,
  } as Stack
}
