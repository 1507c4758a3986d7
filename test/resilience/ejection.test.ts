import { describe, expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import type { Endpoint } from '../../src/core/endpoint.ts'
import { type Outcome, outcome, SUCCESS } from '../../src/core/outcome.ts'
import { EjectionPolicy } from '../../src/resilience/ejection.ts'
import { EJECTION, type EjectionOptions } from '../../src/resilience/ejection-settings.ts'
import { HealthView } from '../../src/resilience/health-view.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { callAt, endpoint, FAILURE, KIND } from './conformance.ts'

const CONNECT_FAILED = outcome('refused', 'connect-failed')

function setUp(size = 4, options: EjectionOptions = {}) {
  const clock = new FakeClock()
  const events: string[] = []
  const policy = new EjectionPolicy(EJECTION.resolve(options), clock, (at, from, to, reason) =>
    events.push(`${at.id}: ${from} -> ${to} (${reason})`),
  )
  const endpoints = Array.from({ length: size }, (_, i) => endpoint(`e${i}`))
  policy.watch(endpoints)
  const start = (at: Endpoint): Attempt => {
    const attempt = new Attempt(callAt(clock))
    attempt.endpoint = at
    attempt.startedAt = clock.now()
    expect(policy.admit(attempt)).toBeUndefined()
    return attempt
  }
  const run = (at: Endpoint, end: Outcome, times = 1): void => {
    for (let i = 0; i < times; i++) policy.settle(start(at), end)
  }
  return { clock, events, policy, endpoints, first: endpoints[0]!, start, run }
}

describe('ejection', () => {
  it('ejects after five failures in a row', () => {
    const { first, run } = setUp()
    run(first, FAILURE, 4)
    run(first, SUCCESS)
    run(first, FAILURE, 4)
    expect(first.state).toBe('healthy')
    run(first, FAILURE)
    expect(first.state).toBe('ejected')
  })

  it('takes an endpoint back with the head of a stream that probes it, however the stream ends', () => {
    const { clock, events, policy, first, start, run } = setUp()
    run(first, FAILURE, 5)
    clock.advance(1_001)
    const probe = start(first)
    expect(first.state).toBe('probing')
    policy.answered(probe)
    expect([first.state, policy.probing]).toEqual(['healthy', 0])
    clock.advance(60_000)
    policy.settle(probe, FAILURE)
    expect(first.state).toBe('healthy')
    expect(events.at(-1)).toBe('e0: probing -> healthy (probe-succeeded)')
  })

  it('ejects the only endpoint, or all of them, while calls may go on to others', () => {
    const alone = setUp(1)
    const failing = setUp(3)
    const failAll = () => {
      alone.run(alone.first, CONNECT_FAILED)
      for (let i = 0; i < 6; i++) for (const each of failing.endpoints.slice(1)) failing.run(each, FAILURE)
      for (let i = 0; i < 6; i++) failing.run(failing.first, FAILURE)
      return [alone.first.state, failing.first.state]
    }
    const others = { failureShareBehind: () => 0 }
    for (const { policy } of [alone, failing]) policy.addAlternative(others)()
    for (const { policy } of [alone, failing]) policy.addAlternative({ failureShareBehind: () => undefined })
    expect(failAll()).toEqual(['healthy', 'healthy'])
    for (const { policy } of [alone, failing]) policy.addAlternative(others)
    expect(failAll()).toEqual(['ejected', 'ejected'])
  })

  it('ejects nothing more where those that calls go on to fail as often', () => {
    const { endpoints, policy, run } = setUp(3)
    policy.addAlternative({ failureShareBehind: () => 0.9 })
    for (let i = 0; i < 30; i++) for (const each of endpoints) run(each, FAILURE)
    expect(endpoints.filter(({ state }) => state !== 'healthy')).toEqual([])
  })

  it('does not take a run for a sign that is probable at the share the others fail with', () => {
    const { clock, endpoints, first, run } = setUp(4, { minimumCalls: 1_000 })
    for (let i = 0; i < 100; i++) for (const other of endpoints.slice(1)) run(other, i % 2 === 0 ? FAILURE : SUCCESS)
    clock.advance(1)
    run(first, FAILURE, 7) // 0.5^7 = 0.8 %
    expect(first.state).toBe('healthy')
    run(first, FAILURE) // 0.5^8 = 0.4 %
    expect(first.state).toBe('ejected')
  })

  it('ejects by the share of failures, 429 included, though they are never in a row', () => {
    const { first, events, run } = setUp()
    for (let i = 0; i < 5; i++) {
      run(first, outcome('failure', 'overloaded', undefined, 429))
      run(first, SUCCESS)
    }
    expect(first.state).toBe('healthy')
    run(first, outcome('failure', 'overloaded', undefined, 429))
    expect(events).toEqual(['e0: healthy -> ejected (error-share)'])
  })

  it('leaves all in when all fail alike: that is the service breaker s case', () => {
    const { endpoints, policy, run } = setUp()
    for (let i = 0; i < 200; i++) for (const each of endpoints) run(each, i % 5 < 3 ? FAILURE : SUCCESS)
    expect(policy.ejected).toBe(0)
  })

  it('ejects at once when a connection is refused, unless it is the only endpoint', () => {
    const { endpoints, run } = setUp(2)
    for (const each of endpoints) run(each, CONNECT_FAILED)
    expect(endpoints.map((each) => each.state)).toEqual(['ejected', 'ejected'])
    const only = setUp(1)
    only.run(only.first, CONNECT_FAILED)
    expect(only.first.state).toBe('healthy')
  })

  it('does not panic over endpoints that refuse connections, while one can be connected to', () => {
    const { clock, endpoints, policy, run } = setUp(4)
    for (const each of endpoints.slice(1)) run(each, CONNECT_FAILED)
    expect(policy.panicking).toBe(false)
    clock.advance(1_000)
    run(endpoints[1]!, FAILURE) // The probe: it listens again, but is ill. One of two is not more than half.
    expect(policy.panicking).toBe(false)
    clock.advance(1)
    run(endpoints[0]!, outcome('refused', 'identity-rejected'))
    expect(policy.panicking).toBe(true)
  })

  it('panics when all refuse connections, until those that do not are known', () => {
    const { clock, endpoints, policy, run } = setUp(3)
    for (const each of endpoints) run(each, CONNECT_FAILED)
    expect(policy.panicking).toBe(true)
    clock.advance(10)
    run(endpoints[0]!, SUCCESS)
    expect(endpoints.map((each) => each.unreachable)).toEqual([false, false, false])
    run(endpoints[0]!, SUCCESS)
    expect(endpoints[0]!.state).toBe('healthy')
    expect(policy.panicking).toBe(true)
    for (const each of endpoints.slice(1)) run(each, CONNECT_FAILED)
    expect(policy.panicking).toBe(false)
  })

  it('learns nothing of whether an endpoint can be connected to from an attempt that was cancelled', () => {
    const { endpoints, run } = setUp(3)
    run(endpoints[0]!, CONNECT_FAILED)
    run(endpoints[0]!, outcome('cancelled', 'cancelled'))
    expect(endpoints[0]!.unreachable).toBe(true)
  })

  it('ejects at once when the identity was rejected', () => {
    const { first, run } = setUp()
    run(first, outcome('refused', 'identity-rejected'))
    expect(first.state).toBe('ejected')
  })

  it('probes with exactly one attempt after each hold, under five times in 30 s', () => {
    const { clock, events, policy, first, start, run } = setUp()
    run(first, FAILURE, 5)
    let probes = 0
    for (let i = 0; i < 3_000; i++) {
      clock.advance(10)
      const due = policy.due(callAt(clock))
      if (due === undefined) continue
      probes += 1
      const probe = start(due)
      expect(due.state).toBe('probing')
      expect(policy.due(callAt(clock))).toBeUndefined()
      policy.settle(probe, FAILURE)
    }
    expect(probes).toBeGreaterThanOrEqual(3)
    expect(probes).toBeLessThan(5)
    expect(events.at(-1)).toBe('e0: probing -> ejected (probe-failed)')
  })

  it('takes back an endpoint whose probe is answered, with a clean slate', () => {
    const { clock, policy, first, run } = setUp()
    run(first, FAILURE, 5)
    clock.advance(1_000)
    run(first, SUCCESS)
    expect(first.state).toBe('healthy')
    expect(policy.ejected).toBe(0)
    run(first, FAILURE, 4)
    expect(first.state).toBe('healthy')
  })

  it('lets the next attempt probe when a probe was cancelled', () => {
    const { clock, policy, first, start, run } = setUp()
    run(first, FAILURE, 5)
    clock.advance(1_000)
    policy.settle(start(first), outcome('cancelled', 'cancelled'))
    expect(first.state).toBe('ejected')
    expect(policy.due(callAt(clock))).toBe(first)
  })

  it('holds longer each time, and forgives after many good answers', () => {
    const { clock, policy, first, run } = setUp()
    const hold = (): number => {
      run(first, FAILURE, 5)
      let ms = 0
      while (policy.due(callAt(clock)) === undefined && ms < 60_000) {
        clock.advance(10)
        ms += 10
      }
      run(first, SUCCESS)
      return ms
    }
    const [one, two, three] = [hold(), hold(), hold()]
    expect(one).toBeLessThanOrEqual(1_010)
    expect(two).toBeGreaterThan(3_000)
    expect(three).toBeGreaterThan(7_900)
    expect(three).toBeLessThanOrEqual(10_010)
    run(first, SUCCESS, 150)
    clock.advance(10_000)
    expect(hold()).toBeLessThanOrEqual(1_010)
  })

  it('ignores attempts that began before the last change', () => {
    const { clock, first, start, policy, run } = setUp()
    const early = Array.from({ length: 10 }, () => start(first))
    clock.advance(1)
    run(first, FAILURE, 5)
    for (const attempt of early.slice(0, 5)) policy.settle(attempt, SUCCESS)
    expect(first.state).toBe('ejected')
    clock.advance(1_000)
    run(first, SUCCESS)
    for (const attempt of early.slice(5)) policy.settle(attempt, FAILURE)
    expect(first.state).toBe('healthy')
  })

  it('learns nothing from timeouts while our own loop stood still', () => {
    const { clock, endpoints, policy, start } = setUp()
    const all = endpoints.flatMap((each) => Array.from({ length: 10 }, () => start(each)))
    clock.stall(200)
    for (const attempt of all) policy.settle(attempt, outcome('failure', 'attempt-timeout'))
    expect(policy.ejected).toBe(0)
  })

  it('learns from a timeout of which our own loop stood still for a small part only', () => {
    const { clock, endpoints, policy, start } = setUp()
    for (let i = 0; i < 5; i++) {
      const attempts = endpoints.map((each) => start(each))
      clock.stall(50)
      clock.advance(1_000)
      const [hung, ...well] = attempts
      policy.settle(hung!, outcome('failure', 'deadline-exceeded'))
      for (const attempt of well) policy.settle(attempt, SUCCESS)
    }
    expect(endpoints[0]!.state).toBe('ejected')
  })

  it('says that it panics when more than half are out', () => {
    const { endpoints, policy, run } = setUp(4)
    run(endpoints[3]!, SUCCESS, 1_000)
    run(endpoints[0]!, FAILURE, 5)
    run(endpoints[1]!, FAILURE, 5)
    expect(policy.panicking).toBe(false)
    run(endpoints[2]!, FAILURE, 5)
    expect(policy.panicking).toBe(true)
    policy.watch(endpoints.slice(1, 4).concat(endpoint('new')))
    expect(policy.panicking).toBe(false)
  })

  it('counts no endpoint that takes no calls, because its weight is 0, and does not probe it', () => {
    const { clock, endpoints, events, policy, run } = setUp(6)
    const view = new HealthView(policy, clock)
    for (const idle of endpoints.slice(3)) idle.weight = 0
    run(endpoints[0]!, SUCCESS, 1_000)
    run(endpoints[3]!, FAILURE, 5)
    policy.watch(endpoints)
    view.watch(endpoints)
    policy.hold(endpoints[4]!)
    expect([policy.ejected, view.ejected]).toEqual([0, 0])
    clock.advance(10_000)
    expect([policy.due(callAt(clock)), view.due(callAt(clock))]).toEqual([undefined, undefined])
    for (const at of endpoints.slice(0, 2)) run(at, outcome('refused', 'identity-rejected'))
    expect([policy.panicking, view.panicking]).toEqual([true, true])
    policy.letGo(endpoints[4]!, 'health-check-passed')
    expect(events.at(-1)).toBe('e4: ejected -> healthy (health-check-passed)')
    endpoints[3]!.weight = 1
    policy.watch(endpoints)
    expect(policy.due(callAt(clock))).toBe(endpoints[3])
  })

  it('counts all where all are of weight 0', () => {
    const { endpoints, policy, run } = setUp(4)
    for (const each of endpoints) each.weight = 0
    policy.watch(endpoints)
    for (const at of endpoints.slice(0, 3)) run(at, outcome('refused', 'identity-rejected'))
    expect([policy.ejected, policy.panicking]).toEqual([3, true])
  })

  it('still counts those out that were not watched for a while, but not who recovered or left meanwhile', () => {
    const { endpoints, policy, run } = setUp(4)
    run(endpoints[0]!, FAILURE, 5)
    for (const held of endpoints.slice(1, 3)) policy.hold(held)
    policy.watch(endpoints.slice(3))
    expect(policy.ejected).toBe(0)
    policy.letGo(endpoints[1]!, 'health-check-passed')
    endpoints[2]!.withdrawn = true
    policy.watch([endpoints[0]!, endpoints[1]!, endpoints[3]!])
    expect(policy.ejected).toBe(1)
    policy.watch([])
    expect(policy.panicking).toBe(false)
  })

  it('tells that an ejected endpoint has left, once', () => {
    const { events, endpoints, first, policy, run, start } = setUp(4)
    const late = start(first)
    run(first, FAILURE, 5)
    first.withdrawn = true
    policy.watch(endpoints.slice(1))
    policy.watch(endpoints.slice(1))
    policy.settle(late, FAILURE)
    run(first, FAILURE, 5)
    expect(events).toEqual(['e0: healthy -> ejected (consecutive-failures)', 'e0: ejected -> healthy (withdrawn)'])
    expect(policy.unhealthy.size).toBe(0)
  })

  it('leaves probing to calls that may be repeated, for a second', () => {
    const { clock, policy, first, run } = setUp()
    run(first, FAILURE, 5)
    clock.advance(1_000)
    const post = { ...KIND, idempotent: false }
    expect(policy.due(callAt(clock, 1e4, post))).toBeUndefined()
    expect(policy.due(callAt(clock))).toBe(first)
    clock.advance(1_000)
    expect(policy.due(callAt(clock, 1e4, post))).toBe(first)
  })

  it('takes all back when it is switched off', () => {
    const { endpoints, policy, run } = setUp()
    for (const each of endpoints.slice(0, 2)) run(each, FAILURE, 5)
    policy.release()
    expect(endpoints.every((each) => each.state === 'healthy')).toBe(true)
    expect(policy.ejected).toBe(0)
  })
})
