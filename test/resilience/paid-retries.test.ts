import { describe, expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import { Call } from '../../src/core/call.ts'
import { type Outcome, outcome, SUCCESS } from '../../src/core/outcome.ts'
import { SILENT } from '../../src/core/telemetry.ts'
import { endAttempt, startAttempt, startCall } from '../../src/resilience/execution.ts'
import { FINAL, RETRY, RetryPolicy } from '../../src/resilience/retry.ts'
import { RetryBudget } from '../../src/resilience/retry-budget.ts'
import { compileEndpointlessStack } from '../../src/resilience/stack.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { callAt, endpoint, KIND } from './conformance.ts'

function balanceAfterCalls(previousAttempts: number | undefined): number {
  const clock = new FakeClock()
  const retry = { ...RETRY.defaults, budget: { ratio: 0.2, minPerSecond: 0 } }
  const stack = compileEndpointlessStack(10_000, SILENT, clock, [], [], retry)
  const parent = previousAttempts === undefined ? undefined : callAt(clock)
  if (parent !== undefined) parent.previousAttempts = previousAttempts!
  for (let i = 0; i < 10; i++) {
    const call = new Call(KIND, clock.now(), clock.now() + 1_000, parent)
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

/**
 * How many attempts follow one another in a call that always ends so, and how many retries were
 * paid for.
 */
function followed(end: Outcome, options: { endpoints?: number; healthy?: number; paid?: number } = {}) {
  const { endpoints = 3, healthy = endpoints, paid = 0 } = options
  const clock = new FakeClock()
  const budget = new RetryBudget({ ratio: 0, minPerSecond: paid }, clock)
  const list = Array.from({ length: endpoints }, (_, i) => endpoint(`e${i}`))
  for (const each of list.slice(healthy)) each.state = 'ejected'
  let turn = 0
  const stack = {
    ...compileEndpointlessStack(10_000, SILENT, clock, []),
    retry: new RetryPolicy(RETRY.defaults, budget, clock),
    budget,
    cluster: {
      service: 'inventory',
      endpoints: list,
      picker: {
        pick: (call: Call) => list.find((each) => call.tried?.includes(each) !== true) ?? list[turn++ % endpoints],
      },
      whenAvailable: () => () => {},
      onChange: () => () => {},
    },
  }
  const call = new Call({ ...KIND, idempotent: false }, clock.now(), clock.now() + 10_000, undefined)
  startCall(stack, call)
  const waits: number[] = []
  for (;;) {
    const attempt = new Attempt(call)
    expect(startAttempt(stack, attempt)).toBeUndefined()
    const waitMs = endAttempt(stack, attempt, end)
    if (waitMs === FINAL) break
    waits.push(waitMs)
    clock.advance(waitMs)
  }
  return { followed: waits.length, waits, unpaid: call.unpaid, paid: paid - budget.balance }
}

const NOBODY_LISTENS = outcome('refused', 'connect-failed')
/** Without a status: it is the connection that went. */
const WENT_AWAY = outcome('refused', 'refused-by-peer')

describe('an attempt that reached no peer', () => {
  it.each([
    ['a refused connection', NOBODY_LISTENS],
    ['a refused certificate', outcome('refused', 'identity-rejected')],
    ['a connection that went away', WENT_AWAY],
  ])('goes on to the endpoints not tried, at once and unpaid: %s', (_, end) => {
    const { followed: count, waits } = followed(end)
    expect([count, waits]).toEqual([2, [0, 0]])
  })

  it('goes on so five times in a call; then the budget pays', () => {
    expect(followed(NOBODY_LISTENS, { endpoints: 20 })).toMatchObject({ followed: 5, unpaid: true })
    expect(followed(NOBODY_LISTENS, { endpoints: 20, paid: 10 }).paid).toBeCloseTo(2)
  })

  it('is a retry once every other endpoint is ejected', () => {
    expect(followed(NOBODY_LISTENS, { endpoints: 3, healthy: 1 })).toMatchObject({ followed: 0, unpaid: true })
    expect(followed(NOBODY_LISTENS, { endpoints: 3, healthy: 2 })).toMatchObject({ followed: 1, unpaid: true })
  })

  it('may try the only endpoint once more, if it was the connection that went away', () => {
    expect(followed(WENT_AWAY, { endpoints: 1 })).toMatchObject({ followed: 1, unpaid: true })
    expect(followed(NOBODY_LISTENS, { endpoints: 1 })).toMatchObject({ followed: 0, unpaid: true })
  })

  it.each([
    ['turned it away by an answer', outcome('refused', 'refused-by-peer', undefined, 503)],
    ['has no room for its stream', outcome('refused', 'refused-by-peer', undefined, 14)],
    ['has too many waiting for a connection', outcome('refused', 'queue-full')],
    ['let it wait too long for a connection', outcome('refused', 'attempt-timeout')],
  ])('is another than one whose peer is alive and %s: that is a retry', (_, end) => {
    expect(followed(end)).toMatchObject({ followed: 0, unpaid: true })
    expect(followed(end, { paid: 2 }).paid).toBeCloseTo(2)
  })
})
