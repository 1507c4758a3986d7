import { describe, expect, it } from 'vitest'
import { LayeredBalancer } from '../../../src/client/balancing/arranged.ts'
import { createBalancer } from '../../../src/client/balancing/balancer.ts'
import { Attempt } from '../../../src/core/attempt.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import { outcome, SUCCESS } from '../../../src/core/outcome.ts'
import { BALANCING, type BalancerName } from '../../../src/resilience/balancing-settings.ts'
import { EjectionPolicy } from '../../../src/resilience/ejection.ts'
import { EJECTION } from '../../../src/resilience/ejection-settings.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { callAt } from '../../resilience/conformance.ts'
import { zoned } from './zoned.ts'

const BALANCERS: readonly BalancerName[] = [
  'peak-ewma',
  'least-request',
  'round-robin',
  'weighted-round-robin',
  'ring-hash',
  'maglev',
]

function setUp(name: BalancerName, count: number, subsetSize: number, zone?: string) {
  const clock = new FakeClock({ seed: 5 })
  clock.advance(1_000)
  const ejection = new EjectionPolicy(EJECTION.resolve(), clock)
  const endpoints = Array.from({ length: count }, (_, i) => zoned(`e${i}`, i % 2 === 0 ? 'a' : 'b'))
  const settings = { ...BALANCING.defaults, balancer: name, subsetSize }
  let used: readonly Endpoint[] = []
  const use = (own: readonly Endpoint[]): void => {
    used = own
    ejection.watch(own)
  }
  const arranged = new LayeredBalancer(
    createBalancer(name, clock, ejection).balancer,
    settings,
    { id: 'client-1', zone },
    ejection,
    clock,
    (own) => use(own),
  )
  const down = new Set<Endpoint>()
  const picker = arranged.picker(endpoints)
  use(picker.inUse ?? endpoints)
  /** Attempts as the execution makes them; whom they reached. */
  const calls = (many: number): Endpoint[] => {
    const reached: Endpoint[] = []
    for (let i = 0; i < many; i++) {
      clock.advance(10)
      const call = callAt(clock)
      call.hashKey = `key-${i}`
      for (;;) {
        const attempt = new Attempt(call)
        const at = picker.pick(call, clock.now())!
        attempt.endpoint = at
        attempt.startedAt = clock.now()
        ejection.admit(attempt)
        ejection.settle(attempt, down.has(at) ? outcome('refused', 'connect-failed') : SUCCESS)
        if (!down.has(at)) reached.push(at)
        if (!down.has(at) || call.tried?.includes(at) === true) break
        call.tried = [...(call.tried ?? []), at]
      }
    }
    return reached
  }
  return { clock, ejection, endpoints, picker, down, calls, used: () => used }
}

describe.each(BALANCERS)('a subset with %s', (name) => {
  it('is all that a client uses while it is well', () => {
    const { calls, used } = setUp(name, 40, 4)
    expect(new Set(calls(400))).toEqual(new Set(used()))
    expect(used()).toHaveLength(4)
  })

  it('reaches further in its ranking when its endpoints cannot be connected to, and comes back when they can', () => {
    const { calls, used, down } = setUp(name, 40, 4)
    const own = used()
    for (const endpoint of own) down.add(endpoint)
    expect(calls(100)).toHaveLength(100)
    expect(used()).toHaveLength(8)
    expect(used()).toEqual(expect.arrayContaining([...own]))
    down.clear()
    // The longest hold is 10 s.
    calls(1_200)
    expect(used()).toEqual(own)
    expect(new Set(calls(200))).toEqual(new Set(own))
  })

  it('reaches as far as it must, one doubling after the other', () => {
    const { calls, used, down, endpoints } = setUp(name, 40, 4, 'a')
    for (const endpoint of endpoints) if (endpoint.id !== 'e0' && endpoint.id !== 'e1') down.add(endpoint)
    expect(calls(100)).toHaveLength(100)
    expect(used().length).toBeGreaterThan(4)
  })

  it('keeps to its subset when half of it is out', () => {
    const { calls, used, down } = setUp(name, 40, 4)
    const own = used()
    down.add(own[0]!).add(own[1]!)
    calls(100)
    expect(used()).toEqual(own)
  })
})

describe('a subset of which none is left', () => {
  it('is extended from its first pick when the endpoints change during an outage', () => {
    const { clock, ejection, calls, used, down, endpoints } = setUp('peak-ewma', 40, 4)
    const own = used()
    for (const endpoint of own) down.add(endpoint)
    calls(100)
    const arranged = new LayeredBalancer(
      createBalancer('peak-ewma', clock, ejection).balancer,
      { ...BALANCING.defaults, subsetSize: 4 },
      { id: 'client-1', zone: undefined },
      ejection,
      clock,
    )
    const picker = arranged.picker([...endpoints, zoned('new', 'a')])
    expect(picker.inUse!.length).toBeGreaterThan(4)
    ejection.watch(picker.inUse!)
    const call = callAt(clock)
    // Once the probes that are due have been given.
    call.tried = [...own]
    expect(own).not.toContain(picker.pick(call, clock.now()))
  })
})
