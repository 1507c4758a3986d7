import { describe, expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import type { Endpoint } from '../../src/core/endpoint.ts'
import { type Outcome, outcome, SUCCESS } from '../../src/core/outcome.ts'
import { EjectionPolicy } from '../../src/resilience/ejection.ts'
import { EJECTION, type EjectionOptions } from '../../src/resilience/ejection-settings.ts'
import { FakeClock, seededRandom } from '../../src/testing/fake-clock.ts'
import { callAt, endpoint, FAILURE } from './conformance.ts'

const OVERLOADED = outcome('failure', 'overloaded', undefined, 503)

function setUp(size = 10, options: EjectionOptions = {}) {
  const clock = new FakeClock()
  const reasons: string[] = []
  const policy = new EjectionPolicy(EJECTION.resolve(options), clock, (at, _from, to, reason) => {
    if (to === 'ejected') reasons.push(`${at.id} ${reason}`)
  })
  const endpoints = Array.from({ length: size }, (_, i) => endpoint(`e${i}`))
  policy.watch(endpoints)
  const run = (at: Endpoint, end: Outcome): void => {
    const attempt = new Attempt(callAt(clock))
    attempt.endpoint = at
    attempt.startedAt = clock.now()
    policy.admit(attempt)
    policy.settle(attempt, end)
  }
  const random = seededRandom(5)
  /** Ten seconds of load on the healthy, `failing(i)` of which fails at endpoint `i`. */
  const load = (failing: (i: number) => number, perEndpoint = 50, end = FAILURE): void => {
    for (let round = 0; round < perEndpoint; round++) {
      clock.advance(10_000 / perEndpoint)
      for (const [i, each] of endpoints.entries()) {
        if (each.state === 'healthy') run(each, random() < failing(i) ? end : SUCCESS)
      }
    }
  }
  return { clock, policy, reasons, endpoints, run, load }
}

describe('an endpoint that fails more often than the others', () => {
  it.each([0.2, 0.3, 0.45])('is ejected when a share of %f fails, however good answers stand between', (share) => {
    const { reasons, load } = setUp()
    load((i) => (i === 0 ? share : 0))
    expect(reasons[0]).toBe('e0 outlier')
    expect(new Set(reasons).size).toBe(1)
  })

  it('is ejected after three failures among few answers, and two when it was out before', () => {
    const { clock, endpoints, reasons, run } = setUp()
    for (const each of endpoints.slice(1)) for (let i = 0; i < 20; i++) run(each, SUCCESS)
    const [first] = endpoints as [Endpoint]
    for (const end of [FAILURE, SUCCESS, FAILURE, SUCCESS]) run(first, end)
    expect(first.state).toBe('healthy')
    run(first, FAILURE)
    expect(reasons).toEqual(['e0 outlier'])
    clock.advance(1_000)
    run(first, SUCCESS)
    expect(first.state).toBe('healthy')
    for (const end of [FAILURE, SUCCESS]) run(first, end)
    expect(first.state).toBe('healthy')
    run(first, FAILURE)
    expect(reasons).toEqual(['e0 outlier', 'e0 outlier'])
  })

  it('stays in where all fail alike, however often', () => {
    for (const share of [0.01, 0.05, 0.1, 0.2]) {
      const { reasons, load } = setUp(20)
      load(() => share)
      expect(reasons.filter((each) => each.endsWith('outlier')).length).toBeLessThanOrEqual(1)
    }
  })

  it('stays in where the others fail half as often: they are no way out', () => {
    const { reasons, load } = setUp(10)
    load((i) => (i === 0 ? 0.3 : 0.2), 200)
    expect(reasons.filter((each) => each.endsWith('outlier'))).toEqual([])
  })

  it('stays in while the difference is below the threshold', () => {
    const { reasons, load } = setUp(10, { outlierThreshold: '70%' })
    load((i) => (i === 0 ? 0.2 : 0))
    expect(reasons).toEqual([])
    const never = setUp(10, { outlierThreshold: '100%' })
    never.load((i) => (i === 0 ? 0.45 : 0))
    expect(never.reasons.filter((each) => each.endsWith('outlier'))).toEqual([])
  })

  it('is not compared with others of which too little is known', () => {
    const { endpoints, reasons, run } = setUp(2)
    for (let i = 0; i < 9; i++) run(endpoints[1]!, SUCCESS)
    for (const end of [FAILURE, SUCCESS, FAILURE, SUCCESS, FAILURE]) run(endpoints[0]!, end)
    expect(reasons).toEqual([])
  })

  it('stays in when it is overloaded: more for the others is no help', () => {
    const { reasons, load } = setUp()
    load((i) => (i === 0 ? 0.3 : 0), 50, OVERLOADED)
    expect(reasons).toEqual([])
  })

  it('leaves only while fewer than maxShare are out, so it never ends in panic', () => {
    const { policy, reasons, load } = setUp(10)
    load((i) => (i < 7 ? 0.3 : 0))
    expect(reasons.length).toBeGreaterThanOrEqual(3)
    expect(policy.ejected).toBeLessThanOrEqual(5)
    expect(policy.panicking).toBe(false)
  })
})
