import { describe, expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import type { Endpoint } from '../../src/core/endpoint.ts'
import { type Outcome, outcome, SUCCESS } from '../../src/core/outcome.ts'
import { EjectionPolicy } from '../../src/resilience/ejection.ts'
import { EJECTION, type EjectionOptions } from '../../src/resilience/ejection-settings.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { callAt, endpoint, FAILURE } from './conformance.ts'

const REFUSED = outcome('refused', 'connect-failed')

function setUp(size = 10, options: EjectionOptions = {}) {
  const clock = new FakeClock()
  const policy = new EjectionPolicy(EJECTION.resolve(options), clock)
  const endpoints = Array.from({ length: size }, (_, i) => endpoint(`e${i}`))
  policy.watch(endpoints)
  const start = (at: Endpoint): Attempt => {
    const attempt = new Attempt(callAt(clock))
    attempt.endpoint = at
    attempt.startedAt = clock.now()
    policy.admit(attempt)
    return attempt
  }
  const run = (at: Endpoint, end: Outcome, times = 1): void => {
    for (let i = 0; i < times; i++) policy.settle(start(at), end)
  }
  /** Several strikes, so that holds are long. */
  const blackOut = (): void => {
    for (let strike = 0; strike < 4; strike++) {
      for (const each of endpoints) run(each, REFUSED)
      clock.advance(10_000)
    }
    for (const each of endpoints) run(each, REFUSED)
    clock.advance(10)
  }
  /** Answers each probe that is due by `end`, and returns how many there were. */
  const answerDue = (end: (at: Endpoint) => Outcome): number => {
    let probes = 0
    for (let due = policy.due(callAt(clock)); due !== undefined; due = policy.due(callAt(clock))) {
      probes += 1
      run(due, end(due))
    }
    return probes
  }
  return { clock, policy, endpoints, start, run, blackOut, answerDue }
}

describe('the end of a total outage', () => {
  it('ends the other holds with the first answer, whether or not it is of a probe', () => {
    const { policy, endpoints, run, blackOut, answerDue } = setUp()
    blackOut()
    expect(answerDue(() => SUCCESS)).toBe(0)
    run(endpoints[3]!, SUCCESS)
    expect(policy.panicking).toBe(true)
    expect(answerDue(() => SUCCESS)).toBe(10)
    expect(policy.ejected).toBe(0)
  })

  it('does so, too, when the endpoints answered with failures', () => {
    const { clock, policy, endpoints, run, answerDue } = setUp(4, { maxShare: 1 })
    for (const each of endpoints) run(each, SUCCESS, 10)
    for (const each of endpoints) run(each, FAILURE, 5)
    // The rest fails as often as those that are out: only one by one are they told apart.
    for (const each of endpoints) if (each.state === 'healthy') run(each, outcome('refused', 'identity-rejected'))
    expect(policy.ejected).toBe(4)
    clock.advance(500)
    run(endpoints[0]!, SUCCESS)
    expect(answerDue(() => SUCCESS)).toBe(0)
    for (let i = 0; i < 3; i++) {
      clock.advance(1_000)
      answerDue(() => FAILURE)
    }
    clock.advance(100)
    run(endpoints[0]!, SUCCESS)
    expect(answerDue(() => SUCCESS)).toBe(4)
    expect(policy.ejected).toBe(0)
  })

  it('is recognized beside endpoints that take no calls, because their weight is 0', () => {
    const { policy, endpoints, run, blackOut, answerDue } = setUp()
    policy.watch([...endpoints, ...Array.from({ length: 10 }, (_, i) => endpoint(`idle${i}`, 0))])
    blackOut()
    run(endpoints[3]!, SUCCESS)
    expect(policy.panicking).toBe(true)
    expect(answerDue(() => SUCCESS)).toBe(10)
  })

  it('does not believe an answer to what was sent before the outage', () => {
    const { clock, endpoints, start, run, policy, answerDue } = setUp()
    const before = start(endpoints[0]!)
    clock.advance(5)
    for (const each of endpoints) run(each, REFUSED)
    policy.settle(before, SUCCESS)
    expect(endpoints.every(({ unreachable }) => unreachable)).toBe(true)
    expect(answerDue(() => SUCCESS)).toBe(0)
  })

  it('changes nothing while one endpoint was well all along', () => {
    const { endpoints, run, policy, clock, answerDue } = setUp()
    for (const each of endpoints.slice(1)) run(each, REFUSED)
    clock.advance(500)
    run(endpoints[0]!, SUCCESS)
    expect(answerDue(() => SUCCESS)).toBe(0)
    expect(policy.ejected).toBe(9)
  })

  it('leaves holds of health checks alone', () => {
    const { endpoints, run, policy, blackOut, answerDue } = setUp(3)
    policy.hold(endpoints[2]!)
    blackOut()
    run(endpoints[0]!, SUCCESS)
    answerDue(() => SUCCESS)
    expect(endpoints.map(({ state }) => state)).toEqual(['healthy', 'healthy', 'ejected'])
  })

  it('asks dead endpoints at most once in ten seconds, however often one comes and goes', () => {
    const { clock, endpoints, run, blackOut, answerDue } = setUp()
    blackOut()
    const [flapping] = endpoints
    let askedDead = 0
    for (let i = 0; i < 300; i++) {
      clock.advance(100)
      run(flapping!, i % 2 === 0 ? SUCCESS : REFUSED)
      answerDue((at) => {
        if (at === flapping) return SUCCESS
        askedDead += 1
        return REFUSED
      })
    }
    // In 30 s, three holds of ten seconds that end by themselves and three that are ended.
    expect(askedDead).toBeLessThanOrEqual(9 * 6)
    expect(askedDead).toBeGreaterThanOrEqual(9)
  })
})
