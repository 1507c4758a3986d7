import CircuitBreaker from 'opossum'
import { describe, expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import { type Outcome, outcome, SUCCESS } from '../../src/core/outcome.ts'
import {
  CIRCUIT_BREAKER,
  type CircuitBreakerOptions,
  CircuitBreakerPolicy,
  type CircuitState,
} from '../../src/resilience/circuit-breaker.ts'
import { circuits } from '../../src/resilience/opossum-circuit.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { callAt, FAILURE } from './conformance.ts'

function setUp(options: CircuitBreakerOptions = {}) {
  const clock = new FakeClock()
  const changes: [CircuitState, CircuitState][] = []
  const policy = new CircuitBreakerPolicy('inventory', CIRCUIT_BREAKER.resolve(options), clock, (_, from, to) =>
    changes.push([from, to]),
  )
  const admit = (): Attempt | undefined => {
    const attempt = new Attempt(callAt(clock))
    return policy.admit(attempt) === undefined ? attempt : undefined
  }
  const run = (end: Outcome, times = 1): void => {
    for (let i = 0; i < times; i++) {
      const attempt = admit()
      if (attempt !== undefined) policy.settle(attempt, end)
    }
  }
  return { clock, changes, policy, admit, run }
}

describe('circuit breaker', () => {
  it('is told as closed when it is switched off while open, and nothing of it afterwards', () => {
    const { changes, policy, admit, run } = setUp({ minimumCalls: 20 })
    const late = Array.from({ length: 40 }, () => admit()!)
    run(FAILURE, 20)
    policy.close()
    for (const attempt of late) policy.settle(attempt, FAILURE)
    expect(changes).toEqual([
      ['closed', 'open'],
      ['open', 'closed'],
    ])
  })

  it('opens when more than the threshold failed, not before the minimum of calls', () => {
    const { policy, run } = setUp({ minimumCalls: 20 })
    run(FAILURE, 19)
    expect(policy.state).toBe('closed')
    run(FAILURE)
    expect(policy.state).toBe('open')
  })

  it('stays closed at exactly the threshold', () => {
    const { policy, run } = setUp()
    for (let i = 0; i < 100; i++) run(i % 2 === 0 ? SUCCESS : FAILURE)
    expect(policy.state).toBe('closed')
  })

  it('forgets calls that have left the window', () => {
    const { clock, policy, run } = setUp()
    run(FAILURE, 19)
    clock.advance(10_001)
    run(FAILURE, 19)
    expect(policy.state).toBe('closed')
    expect(policy.circuit.stats.failures).toBe(19)
  })

  it('closes with the head of a stream that probes, and counts it once', () => {
    const { clock, policy, admit, run } = setUp({ resetAfter: '5s', minimumCalls: 3 })
    run(FAILURE, 3)
    clock.advance(5_001)
    const probe = admit()!
    expect(admit()).toBeUndefined()
    clock.advance(1)
    policy.answered(probe)
    expect(policy.state).toBe('closed')
    clock.advance(60_000)
    policy.settle(probe, FAILURE)
    expect([policy.state, policy.circuit.stats.failures]).toEqual(['closed', 0])
    run(SUCCESS)
    expect(policy.circuit.stats.successes).toBe(1)
  })

  it('is not moved by the head of a stream that does not probe', () => {
    const { clock, policy, admit, run } = setUp({ resetAfter: '5s', minimumCalls: 3 })
    const stream = admit()!
    run(FAILURE, 3)
    policy.answered(stream)
    expect(policy.state).toBe('open')
    clock.advance(5_001)
    const probe = admit()!
    policy.answered(stream)
    expect(policy.state).toBe('half-open')
    policy.settle(probe, SUCCESS)
    expect(policy.state).toBe('closed')
  })

  it('lets exactly one call probe after the pause, and closes with an empty window if it succeeds', () => {
    const { clock, changes, policy, admit, run } = setUp({ resetAfter: '5s' })
    run(FAILURE, 20)
    clock.advance(4_999)
    expect(admit()).toBeUndefined()
    clock.advance(1)
    const probe = admit()
    expect(probe).toBeDefined()
    expect(policy.circuit.halfOpen).toBe(true)
    expect(admit()).toBeUndefined()
    policy.settle(probe!, SUCCESS)
    expect(policy.state).toBe('closed')
    run(FAILURE, 19)
    expect(policy.state).toBe('closed')
    expect(changes).toEqual([
      ['closed', 'open'],
      ['open', 'half-open'],
      ['half-open', 'closed'],
    ])
  })

  it('opens for another pause if the probe fails', () => {
    const { clock, policy, admit, run } = setUp()
    run(FAILURE, 20)
    clock.advance(5_000)
    run(FAILURE)
    expect(policy.state).toBe('open')
    clock.advance(4_999)
    expect(admit()).toBeUndefined()
    clock.advance(1)
    expect(admit()).toBeDefined()
  })

  it('hands a cancelled probe to the next call', () => {
    const { clock, policy, admit, run } = setUp()
    run(FAILURE, 20)
    clock.advance(5_000)
    policy.settle(admit()!, outcome('cancelled', 'cancelled'))
    expect(policy.state).toBe('half-open')
    const next = admit()
    expect(next).toBeDefined()
    expect(admit()).toBeUndefined()
  })

  it('lets one more call probe each time that a probe has lasted for resetAfter, whatever its deadline', () => {
    const { clock, policy, admit, run } = setUp({ resetAfter: '1s' })
    run(FAILURE, 20)
    clock.advance(1_000)
    const slow = admit()!
    clock.advance(999)
    expect(admit()).toBeUndefined()
    clock.advance(1)
    const second = admit()!
    expect(admit()).toBeUndefined()
    // The older one decides, too: a service that answers in more than resetAfter is not kept out
    // for ever.
    clock.advance(1)
    policy.settle(slow, SUCCESS)
    expect(policy.state).toBe('closed')
    policy.settle(second, FAILURE)
    expect([policy.state, policy.circuit.stats.failures]).toEqual(['closed', 0])
  })

  it('opens again with the first of several probes that fails', () => {
    const { clock, policy, admit, run } = setUp({ resetAfter: '1s' })
    run(FAILURE, 20)
    clock.advance(1_000)
    const stalled = admit()!
    clock.advance(1_000)
    policy.settle(admit()!, FAILURE)
    expect([policy.state, policy.probing]).toEqual(['open', false])
    policy.settle(stalled, SUCCESS)
    expect(policy.state).toBe('open')
  })

  it('hears nothing of how a stream ends that was served for longer than the window', () => {
    const { clock, policy, admit } = setUp({ minimumCalls: 5, window: '10s' })
    const streams = Array.from({ length: 20 }, () => admit()!)
    for (const stream of streams) {
      policy.answered(stream)
      stream.begun = true
    }
    const early = streams.splice(0, 4)
    clock.advance(9_000)
    for (const stream of early) policy.settle(stream, FAILURE)
    expect(policy.circuit.stats.failures).toBe(4)
    clock.advance(1_000)
    for (const stream of streams) policy.settle(stream, FAILURE)
    expect(policy.state).toBe('closed')
    expect(policy.circuit.stats.failures).toBe(4)
  })

  it('is not moved by calls that were admitted before its last change', () => {
    const { clock, policy, admit, run } = setUp({ minimumCalls: 1 })
    const early = [admit()!, admit()!, admit()!]
    clock.advance(1)
    run(FAILURE)
    expect(policy.state).toBe('open')
    policy.settle(early[0]!, SUCCESS)
    expect(policy.state).toBe('open')
    clock.advance(5_000)
    const probe = admit()!
    policy.settle(early[1]!, FAILURE)
    expect(policy.state).toBe('half-open')
    policy.settle(probe, SUCCESS)
    policy.settle(early[2]!, FAILURE)
    expect(policy.state).toBe('closed')
  })

  it('counts what the service is to blame for, and nothing else', () => {
    const { policy, run } = setUp({ minimumCalls: 1, errorThreshold: 0.01 })
    run(outcome('cancelled', 'cancelled'))
    run(outcome('refused', 'concurrency-limited'))
    run(outcome('refused', 'no-endpoints'))
    run(outcome('refused', 'permission-denied', undefined, 403))
    expect(policy.state).toBe('closed')
    run(outcome('refused', 'connect-failed'))
    expect(policy.state).toBe('open')
  })

  it('takes new settings without losing its counts', () => {
    const { policy, run } = setUp({ minimumCalls: 100 })
    run(FAILURE, 50)
    policy.configure(CIRCUIT_BREAKER.resolve({ minimumCalls: 20 }))
    expect(policy.state).toBe('closed')
    run(FAILURE)
    expect(policy.state).toBe('open')
  })

  it('is a real opossum circuit, listed until it is closed, that an operator can open and switch off', () => {
    const { policy, admit, run } = setUp()
    expect(policy.circuit).toBeInstanceOf(CircuitBreaker)
    expect(circuits()).toContain(policy.circuit)
    policy.circuit.open()
    expect(admit()).toBeUndefined()
    policy.circuit.close()
    policy.circuit.disable()
    run(FAILURE, 50)
    expect(policy.state).toBe('closed')
    policy.close()
    expect(circuits()).not.toContain(policy.circuit)
    expect(admit()).toBeDefined()
  })

  it('tells listeners of opossum what they know: fire, success, failure, reject, open', () => {
    const { policy, run } = setUp({ minimumCalls: 3 })
    const heard: string[] = []
    for (const event of ['fire', 'success', 'failure', 'reject', 'open'])
      policy.circuit.on(event, () => heard.push(event))
    run(SUCCESS)
    run(FAILURE, 3)
    expect(heard).toEqual(['fire', 'success', 'fire', 'failure', 'fire', 'failure', 'open'].concat('reject'))
    expect(policy.circuit.stats).toMatchObject({ fires: 3, successes: 1, failures: 2 })
  })

  it('starts no timer, closed or open', () => {
    const before = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    const all = Array.from({ length: 100 }, () => setUp({ minimumCalls: 1 }))
    for (const { run } of all) run(FAILURE)
    expect(all.every(({ policy }) => policy.state === 'open')).toBe(true)
    expect(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length).toBeLessThanOrEqual(before)
  })

  it('names every wrong option', () => {
    expect(() => CIRCUIT_BREAKER.resolve({ errorThreshold: 2, minimumCalls: 0.5 })).toThrow(
      /errorThreshold.*minimumCalls/s,
    )
  })
})
