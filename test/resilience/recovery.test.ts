import { describe, expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import type { Endpoint } from '../../src/core/endpoint.ts'
import { type Outcome, outcome, SUCCESS } from '../../src/core/outcome.ts'
import { CIRCUIT_BREAKER, CircuitBreakerPolicy } from '../../src/resilience/circuit-breaker.ts'
import { EjectionPolicy } from '../../src/resilience/ejection.ts'
import { EJECTION } from '../../src/resilience/ejection-settings.ts'
import { HealthView } from '../../src/resilience/health-view.ts'
import { Recovery } from '../../src/resilience/recovery.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { callAt, endpoint, FAILURE } from './conformance.ts'

const LATE = outcome('failure', 'deadline-exceeded')

function attemptAt(clock: FakeClock, at?: Endpoint): Attempt {
  const attempt = new Attempt(callAt(clock))
  attempt.endpoint = at
  attempt.startedAt = clock.now()
  return attempt
}

describe('the recovery of a service', () => {
  const setUp = () => {
    const clock = new FakeClock()
    clock.advance(5_000)
    const recovery = new Recovery()
    const begin = (times = 1): Attempt[] =>
      Array.from({ length: times }, () => {
        recovery.began()
        return attemptAt(clock)
      })
    const good = (attempt = begin()[0]!): boolean => recovery.good(attempt.startedAt, clock.now())
    good()
    return { clock, recovery, begin, good }
  }

  it('is the first good answer after a second of silence to ten calls', () => {
    const { clock, recovery, begin, good } = setUp()
    const swallowed = begin(10)
    clock.advance(1_000)
    expect(good()).toBe(true)
    expect(swallowed.map((each) => recovery.counts(each))).not.toContain(true)
    expect(recovery.counts(begin()[0]!)).toBe(true)
  })

  it('is none after less than a second, or where little was asked', () => {
    const { clock, recovery, begin, good } = setUp()
    const many = begin(10)
    clock.advance(999)
    expect([good(), recovery.counts(many[0]!)]).toEqual([false, true])
    const few = begin(8)
    clock.advance(60_000)
    expect([good(), recovery.counts(few[0]!)]).toEqual([false, true])
  })

  it('is not a late answer to what was sent before the silence', () => {
    const { clock, begin, good } = setUp()
    const before = begin()[0]!
    clock.advance(10)
    good()
    begin(20)
    clock.advance(2_000)
    expect(good(before)).toBe(false)
    expect(good()).toBe(true)
  })

  it('says nothing of an answer that had begun and broke off', () => {
    const { clock, recovery, begin, good } = setUp()
    const [stream] = begin(10)
    stream!.begun = true
    clock.advance(1_000)
    expect(good()).toBe(true)
    expect(recovery.counts(stream!)).toBe(true)
  })

  it('is believed again only after more good answers than failures', () => {
    const { clock, recovery, begin, good } = setUp()
    const outage = (): boolean => {
      const swallowed = begin(10)
      clock.advance(1_000)
      const isBack = good()
      for (const each of swallowed) recovery.counts(each)
      return isBack
    }
    expect([outage(), outage(), outage()]).toEqual([true, false, false])
    for (let i = 0; i < 40; i++) good()
    expect(outage()).toBe(true)
  })
})

describe('a circuit and the recovery of its service', () => {
  const setUp = () => {
    const clock = new FakeClock()
    const policy = new CircuitBreakerPolicy('inventory', CIRCUIT_BREAKER.resolve(), clock)
    const admit = (): Attempt | undefined => {
      const attempt = attemptAt(clock)
      return policy.admit(attempt) === undefined ? attempt : undefined
    }
    const begin = (times: number): Attempt[] => Array.from({ length: times }, () => admit()!)
    const end = (attempts: readonly Attempt[], by: Outcome): void => {
      for (const each of attempts) policy.settle(each, by)
    }
    /** The circuit opens while calls from before are waiting; returns those. */
    const openBeside = (count: number): Attempt[] => {
      end(begin(10), SUCCESS)
      const early = begin(30)
      const waiting = begin(count)
      clock.advance(1_000)
      end(early, LATE)
      return waiting
    }
    return { clock, policy, admit, begin, end, openBeside }
  }

  it('stays closed when calls time out that began before the service was back', () => {
    const { clock, policy, begin, end } = setUp()
    end(begin(30), SUCCESS)
    const swallowed = begin(100)
    clock.advance(2_000)
    end(begin(1), SUCCESS)
    end(swallowed, LATE)
    expect(policy.state).toBe('closed')
    expect(policy.circuit.stats.failures).toBe(0)
    end(begin(40), LATE)
    expect(policy.state).toBe('open')
  })

  it('opens for a service that answers one call well now and then', () => {
    const { clock, policy, admit, end } = setUp()
    for (let second = 0; second < 20 && policy.state === 'closed'; second++) {
      // All of these have begun before one of them is answered well.
      const attempts = Array.from({ length: 20 }, admit).filter((attempt) => attempt !== undefined)
      clock.advance(1_100)
      end(attempts.slice(0, 1), SUCCESS)
      end(attempts.slice(1), LATE)
    }
    expect(policy.state).toBe('open')
  })

  it('asks at once when a call from before it opened is answered well', () => {
    const { policy, admit, end, openBeside } = setUp()
    const waiting = openBeside(2)
    expect([policy.state, admit()]).toEqual(['open', undefined])
    end(waiting.slice(0, 1), SUCCESS)
    expect(policy.state).toBe('half-open')
    const probe = admit()!
    expect(admit()).toBeUndefined()
    end([probe], SUCCESS)
    expect(policy.state).toBe('closed')
  })

  it('takes one more probe for each further answer of that kind, while the first one waits', () => {
    const { clock, policy, admit, begin, end, openBeside } = setUp()
    const waiting = openBeside(4)
    end(waiting.slice(0, 1), SUCCESS)
    const [first] = begin(1)
    end(waiting.slice(1, 3), SUCCESS)
    const [second] = begin(2)
    expect(admit()).toBeUndefined()
    end(waiting.slice(3), LATE)
    expect(admit()).toBeUndefined()
    clock.advance(100)
    end([second!], SUCCESS)
    expect(policy.state).toBe('closed')
    end([first!], LATE)
    expect([policy.state, policy.circuit.stats.failures]).toEqual(['closed', 0])
  })

  it('keeps no answers for the next time', () => {
    const { clock, policy, admit, begin, end, openBeside } = setUp()
    const waiting = openBeside(4)
    end(waiting.slice(0, 1), SUCCESS)
    const probes = begin(1)
    end(waiting.slice(1), SUCCESS)
    end(probes, LATE)
    expect([policy.state, admit()]).toEqual(['open', undefined])
    clock.advance(5_000)
    expect([admit(), admit()]).toEqual([expect.anything(), undefined])
  })

  it('does so, too, for the head of a stream', () => {
    const { clock, policy, begin, end } = setUp()
    end(begin(10), SUCCESS)
    const early = begin(30)
    const [stream] = begin(1)
    clock.advance(1_000)
    end(early, LATE)
    policy.answered(stream!)
    expect(policy.state).toBe('half-open')
  })
})

describe('ejection and the recovery of a service', () => {
  const setUp = (size: number) => {
    const clock = new FakeClock()
    const policy = new EjectionPolicy(EJECTION.resolve(), clock)
    const endpoints = Array.from({ length: size }, (_, i) => endpoint(`e${i}`))
    policy.watch(endpoints)
    const begin = (at: Endpoint, times = 1): Attempt[] =>
      Array.from({ length: times }, () => {
        const attempt = attemptAt(clock, at)
        policy.admit(attempt)
        return attempt
      })
    const end = (attempts: readonly Attempt[], by: Outcome): void => {
      for (const each of attempts) policy.settle(each, by)
    }
    return { clock, policy, endpoints, begin, end }
  }

  it('leaves endpoints in use when calls time out that began before the service was back', () => {
    const { clock, policy, endpoints, begin, end } = setUp(4)
    for (const each of endpoints) end(begin(each, 20), SUCCESS)
    const swallowed = begin(endpoints[0]!, 20)
    clock.advance(2_000)
    for (const each of endpoints) end(begin(each), SUCCESS)
    end(swallowed, LATE)
    expect(policy.ejected).toBe(0)
    end(begin(endpoints[0]!, 20), LATE)
    expect(endpoints[0]!.state).toBe('ejected')
  })

  it('asks again at once when a probe from before has timed out', () => {
    const { clock, endpoints, begin, end, policy } = setUp(4)
    const [ill] = endpoints
    for (const each of endpoints) end(begin(each, 20), SUCCESS)
    end(begin(ill!, 5), FAILURE)
    clock.advance(1_000)
    const [probe] = begin(ill!)
    begin(endpoints[1]!, 20)
    clock.advance(2_000)
    end(begin(endpoints[1]!), SUCCESS)
    end([probe!], LATE)
    expect(ill!.state).toBe('ejected')
    expect(policy.due(callAt(clock))).toBe(ill)
  })

  it.each([
    ['all endpoints', (policy: EjectionPolicy) => policy],
    [
      'a part of them',
      (policy: EjectionPolicy, clock: FakeClock, endpoints: readonly Endpoint[]) => {
        const view = new HealthView(policy, clock)
        view.watch(endpoints)
        return view
      },
    ],
  ])('asks the one of %s that has waited longest, so a dead one keeps no other waiting', (_, healthOf) => {
    const { clock, policy, endpoints, begin, end } = setUp(5)
    const refused = outcome('refused', 'connect-failed')
    for (const each of endpoints.slice(0, 4)) end(begin(each), refused)
    const health = healthOf(policy, clock, endpoints)
    const asked = new Set<Endpoint>()
    for (let probe = 0; probe < 4; probe++) {
      // All holds are over by then, whichever of them began last.
      clock.advance(20_000)
      const due = health.due(callAt(clock))!
      asked.add(due)
      end(begin(due), refused)
    }
    expect(asked.size).toBe(4)
  })
})
