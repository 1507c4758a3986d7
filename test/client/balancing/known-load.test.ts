import { describe, expect, it } from 'vitest'
import { createBalancer } from '../../../src/client/balancing/balancer.ts'
import { knownLoad } from '../../../src/client/balancing/known-load.ts'
import { Attempt } from '../../../src/core/attempt.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import type { LoadReport } from '../../../src/core/load-report.ts'
import { outcome, SUCCESS } from '../../../src/core/outcome.ts'
import type { Policy } from '../../../src/core/policy.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { callAt, endpoint as made } from '../../resilience/conformance.ts'

function setUp() {
  const clock = new FakeClock()
  clock.advance(1_000)
  const settle = (policy: Policy, at: Endpoint, report: LoadReport | undefined, ended = SUCCESS): void => {
    const attempt = new Attempt(callAt(clock))
    attempt.endpoint = at
    attempt.startedAt = clock.now()
    clock.advance(20)
    attempt.endedAt = clock.now()
    attempt.report = report
    policy.settle(attempt, ended)
  }
  return { clock, settle }
}

describe('what is known of the load of an endpoint', () => {
  it('is nothing at first, and only what we measure without reports', () => {
    const { clock, settle } = setUp()
    const endpoint = made('a')
    expect(knownLoad(endpoint, clock.now())).toEqual({ estimateMs: 0, reported: undefined, capacity: undefined })
    settle(createBalancer('least-load', clock, undefined).policy!, endpoint, undefined)
    expect(knownLoad(endpoint, clock.now())).toEqual({ estimateMs: 20, reported: undefined, capacity: undefined })
  })

  it('is the last report, its age, and whether a failure has made it void', () => {
    const { clock, settle } = setUp()
    const endpoint = made('a')
    const { policy } = createBalancer('least-load', clock, undefined)
    settle(policy!, endpoint, { inFlight: 3, latencyMs: 15.25, servedMs: 18 })
    clock.advance(130)
    const reported = { inFlight: 3, latencyMs: 15.25, networkMs: 2, ageMs: 130, valid: true }
    expect(knownLoad(endpoint, clock.now())).toMatchObject({ estimateMs: 20, reported })
    settle(policy!, endpoint, undefined, outcome('failure', 'server-error', undefined, 500))
    expect(knownLoad(endpoint, clock.now()).reported).toEqual({ ...reported, ageMs: 150, valid: false })
  })

  it('is what the endpoint could serve, and its weight by that', () => {
    const { clock, settle } = setUp()
    const endpoints = [made('a'), made('b')] as const
    const { balancer, policy } = createBalancer('weighted-round-robin', clock, undefined, true)
    const picker = balancer.picker(endpoints)
    for (let i = 0; i < 30; i++) {
      clock.advance(460)
      settle(policy!, endpoints[0], { inFlight: 0, latencyMs: 0, servedMs: 0, capacity: 300 })
      settle(policy!, endpoints[1], { inFlight: 1, latencyMs: 20, servedMs: 20 })
    }
    picker.pick(callAt(clock))
    const [a, b] = endpoints.map((each) => knownLoad(each, clock.now()).capacity)
    expect([a, b]).toEqual([
      { perSecond: 300, share: 1.5, ageMs: 20 },
      { perSecond: 100, share: 0.5, ageMs: 0 },
    ])
  })
})
