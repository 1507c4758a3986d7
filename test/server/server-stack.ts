/** The stack of a server without a policy document, also for separate processes. */
import type { Attempt } from '../../src/core/attempt.ts'
import { systemClock } from '../../src/core/clock.ts'
import type { ErrorCode } from '../../src/core/errors.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import type { Policy } from '../../src/core/policy.ts'
import { SILENT } from '../../src/core/telemetry.ts'
import { RETRY, RetryPolicy } from '../../src/resilience/retry.ts'
import { RetryBudget } from '../../src/resilience/retry-budget.ts'
import type { Stack } from '../../src/resilience/stack.ts'

/** Lets one in at a time. */
export class OneAtATime implements Policy {
  readonly name = 'limit'
  running = 0
  readonly settled: Outcome['verdict'][] = []

  admit(): ErrorCode | undefined {
    if (this.running >= 1) return 'concurrency-limited'
    this.running += 1
    return undefined
  }

  settle(_attempt: Attempt, { verdict }: Outcome): void {
    this.running -= 1
    this.settled.push(verdict)
  }
}

export function serverStack(policies: readonly Policy[] = [], timeoutMs = 10_000): Stack {
  const budget = new RetryBudget(RETRY.defaults.budget, systemClock)
  return {
    timeoutMs,
    service: policies,
    endpoint: [],
    retry: new RetryPolicy({ ...RETRY.defaults, attempts: 1 }, budget, systemClock),
    budget,
    cluster: undefined,
    telemetry: SILENT,
    clock: systemClock,
  } as Stack
}
