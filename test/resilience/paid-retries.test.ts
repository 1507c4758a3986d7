import { describe, expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import { Call } from '../../src/core/call.ts'
import { SUCCESS } from '../../src/core/outcome.ts'
import { SILENT } from '../../src/core/telemetry.ts'
import { endAttempt, startAttempt, startCall } from '../../src/resilience/execution.ts'
import { RETRY_DEFAULTS } from '../../src/resilience/retry.ts'
import { withoutCluster } from '../../src/resilience/stack.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { callAt, ROUTE } from './conformance.ts'

function balanceAfterCalls(previousAttempts: number | undefined): number {
  const clock = new FakeClock()
  const retry = { ...RETRY_DEFAULTS, budget: { ratio: 0.2, minPerSecond: 0 } }
  const stack = withoutCluster(10_000, SILENT, clock, [], [], retry)
  const parent = previousAttempts === undefined ? undefined : callAt(clock)
  if (parent !== undefined) parent.previousAttempts = previousAttempts!
  for (let i = 0; i < 10; i++) {
    const call = new Call(ROUTE, clock.now(), clock.now() + 1_000, parent)
    startCall(stack, call)
    const attempt = new Attempt(call)
    expect(startAttempt(stack, attempt)).toBeUndefined()
    endAttempt(stack, attempt, SUCCESS)
  }
  return Math.round(stack.budget.balance)
}

describe('who pays for retries', () => {
  it('calls pay into the budget, on their own account or while a first attempt is served', () => {
    expect(balanceAfterCalls(undefined)).toBe(2)
    expect(balanceAfterCalls(0)).toBe(2)
  })

  it('calls made while a retry is served do not: the tier above has paid for it', () => {
    expect(balanceAfterCalls(1)).toBe(0)
  })
})
