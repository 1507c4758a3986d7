import { describe, expect, it } from 'vitest'
import { AliasTable } from '../../../src/client/balancing/alias-table.ts'
import { LayeredBalancer } from '../../../src/client/balancing/arranged.ts'
import { createBalancer } from '../../../src/client/balancing/balancer.ts'
import { PeakEwma } from '../../../src/client/balancing/peak-ewma.ts'
import { Attempt } from '../../../src/core/attempt.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import { type Outcome, outcome, SUCCESS } from '../../../src/core/outcome.ts'
import { BALANCER_NAMES, BALANCING } from '../../../src/resilience/balancing-settings.ts'
import { EjectionPolicy } from '../../../src/resilience/ejection.ts'
import { EJECTION } from '../../../src/resilience/ejection-settings.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { callAt, endpoint, FAILURE, KIND } from '../../resilience/conformance.ts'

function setUp(size: number, weights: readonly number[] = []) {
  const clock = new FakeClock({ seed: 5 })
  const ejection = new EjectionPolicy(EJECTION.resolve(), clock)
  const endpoints = Array.from({ length: size }, (_, i) => endpoint(`e${i}`, weights[i] ?? 1))
  const balancer = new PeakEwma(clock, ejection)
  const picker = balancer.picker(endpoints)
  ejection.watch(endpoints)
  const feed = (at: Endpoint, ms: number, end = SUCCESS): void => {
    const attempt = new Attempt(callAt(clock))
    attempt.endpoint = at
    attempt.startedAt = clock.now() - ms
    balancer.settle(attempt, end)
  }
  const shares = (picks: number, each?: (at: Endpoint) => void): number[] => {
    const counts = endpoints.map(() => 0)
    for (let i = 0; i < picks; i++) {
      const at = picker.pick(callAt(clock))!
      counts[endpoints.indexOf(at)]! += 1
      each?.(at)
    }
    return counts.map((count) => count / picks)
  }
  clock.advance(10_000)
  return { clock, ejection, endpoints, balancer, picker, feed, shares }
}

describe('every balancer', () => {
  it.each(BALANCER_NAMES)('%s skips ejected endpoints and those already tried, while others are left', (name) => {
    const { clock, ejection, endpoints } = setUp(5)
    const picker = createBalancer(name, clock, ejection).balancer.picker(endpoints)
    endpoints[0]!.state = 'ejected'
    const call = callAt(clock)
    call.tried = [endpoints[1]!]
    const picked = new Set(Array.from({ length: 500 }, () => picker.pick(call)))
    expect([...picked].map((each) => each!.id).sort()).toEqual(['e2', 'e3', 'e4'])
    call.tried = [...endpoints]
    expect(picker.pick(call)).toBeDefined()
    expect(picker.pick(call)!.state).toBe('healthy')
  })

  it.each(BALANCER_NAMES)('%s makes pickers without a word to ejection, which goes on with what it watches', (name) => {
    const { clock, ejection, endpoints } = setUp(4)
    for (const each of endpoints) ejection.hold(each)
    const { balancer } = createBalancer(name, clock, ejection)
    balancer.picker(endpoints.slice(0, 1)).pick(callAt(clock))
    balancer.picker([])
    expect(ejection.ejected).toBe(4)
  })

  it.each(BALANCER_NAMES)('%s looks at no endpoint until the first pick', (name) => {
    const { clock, ejection } = setUp(1)
    const { balancer } = createBalancer(name, clock, ejection)
    const looked: Endpoint[] = []
    const all = ['a', 'b', 'c'].map((id) => {
      const plain = endpoint(id)
      return Object.defineProperty(plain, 'weight', {
        get: () => {
          looked.push(plain)
          return 1
        },
      })
    })
    const settings = { ...BALANCING.defaults, balancer: name }
    const arranged = new LayeredBalancer(balancer, settings, { id: 'client', zone: 'a' }, ejection, clock)
    const picker = arranged.picker(all)
    expect(looked).toEqual([])
    expect(all).toContain(picker.pick(callAt(clock)))
    expect(looked).not.toEqual([])
  })

  it.each(BALANCER_NAMES)('%s has nothing to say about no endpoints, and one choice about one', (name) => {
    const { clock, ejection, endpoints } = setUp(1)
    const { balancer } = createBalancer(name, clock, ejection)
    expect(balancer.picker([]).pick(callAt(clock))).toBeUndefined()
    endpoints[0]!.state = 'ejected'
    endpoints[0]!.health = undefined
    expect(balancer.picker([endpoints[0]!]).pick(callAt(clock, 1e4, { ...KIND, idempotent: false }))).toBe(endpoints[0])
  })

  it.each(BALANCER_NAMES)('%s honours weights when nothing else tells endpoints apart', (name) => {
    const { clock, ejection, endpoints } = setUp(3, [1, 2, 5])
    const picker = createBalancer(name, clock, ejection).balancer.picker(endpoints)
    for (const each of endpoints) {
      each.estimateMs = 10
      each.estimatedAt = clock.now()
    }
    const counts = [0, 0, 0]
    for (let i = 0; i < 8_000; i++) counts[endpoints.indexOf(picker.pick(callAt(clock))!)]! += 1
    for (const [i, weight] of [1, 2, 5].entries()) expect(counts[i]! / 1_000).toBeCloseTo(weight, 0)
  })

  it.each(BALANCER_NAMES)('%s uses all when more than half are ejected', (name) => {
    const { clock, ejection, endpoints } = setUp(4)
    const { balancer, policy } = createBalancer(name, clock, ejection)
    const picker = balancer.picker(endpoints)
    for (let i = 0; i < 1_000; i++) settle(endpoints[3]!, true)
    for (const each of endpoints.slice(0, 3)) for (let i = 0; i < 5; i++) settle(each, false)
    expect(ejection.panicking).toBe(true)
    for (const each of endpoints) each.estimateMs = 0
    const picked = new Set(Array.from({ length: 500 }, () => picker.pick(callAt(clock))))
    expect(picked.size).toBe(4)
    function settle(at: Endpoint, good: boolean): void {
      const attempt = new Attempt(callAt(clock))
      attempt.endpoint = at
      attempt.startedAt = clock.now()
      ejection.settle(attempt, good ? SUCCESS : FAILURE)
      policy?.settle(attempt, good ? SUCCESS : FAILURE)
    }
  })

  it.each(BALANCER_NAMES)('%s skips those that refuse connections, in panic too, and uses them when all do', (name) => {
    const { clock, ejection, endpoints } = setUp(5)
    const picker = createBalancer(name, clock, ejection).balancer.picker(endpoints)
    const settle = (at: Endpoint, end: Outcome): void => {
      const attempt = new Attempt(callAt(clock))
      attempt.endpoint = at
      attempt.startedAt = clock.now()
      ejection.settle(attempt, end)
    }
    const picked = (tried?: Endpoint[]): string[] => {
      const call = callAt(clock)
      call.tried = tried
      return [...new Set(Array.from({ length: 500 }, () => picker.pick(call)!.id))].sort()
    }
    for (const each of endpoints.slice(2)) settle(each, outcome('refused', 'connect-failed'))
    expect(picked()).toEqual(['e0', 'e1'])
    for (const each of endpoints.slice(0, 2)) settle(each, outcome('refused', 'identity-rejected'))
    expect(ejection.panicking).toBe(true)
    expect(picked()).toEqual(['e0', 'e1'])
    for (const each of endpoints.slice(0, 2)) settle(each, outcome('refused', 'connect-failed'))
    expect(picked()).toEqual(['e0', 'e1', 'e2', 'e3', 'e4'])
    expect(picked(endpoints.slice(0, 3))).not.toContain('e0')
  })

  it.each(BALANCER_NAMES)('%s sends a call to an endpoint whose hold is over', (name) => {
    const { clock, ejection, endpoints } = setUp(4)
    const picker = createBalancer(name, clock, ejection).balancer.picker(endpoints)
    const attempt = new Attempt(callAt(clock))
    attempt.endpoint = endpoints[2]!
    attempt.startedAt = clock.now()
    ejection.settle(attempt, outcome('refused', 'connect-failed'))
    clock.advance(1_000)
    expect(picker.pick(callAt(clock))).toBe(endpoints[2])
  })
})

describe('peak-ewma', () => {
  it('prefers the quick', () => {
    const { endpoints, feed, shares } = setUp(10)
    for (const [i, each] of endpoints.entries()) feed(each, i === 0 ? 100 : 10)
    expect(shares(2_000)[0]).toBe(0)
  })

  it('notices a stalled endpoint by its silence, before it answers', () => {
    const { clock, endpoints, feed, shares } = setUp(2)
    for (const each of endpoints) feed(each, 10)
    const attempt = new Attempt(callAt(clock))
    attempt.startedAt = clock.now()
    endpoints[0]!.pending = 1
    endpoints[0]!.oldest = attempt
    endpoints[1]!.pending = 2
    clock.advance(40)
    expect(shares(200)[0]).toBe(0)
  })

  it('sends one probe to an unknown endpoint, not more until it has answered', () => {
    const { endpoints, feed, shares } = setUp(10)
    for (const each of endpoints.slice(1)) feed(each, 10)
    const unknown = endpoints[0]!
    let probes = 0
    shares(500, (at) => {
      if (at === unknown) {
        probes += 1
        at.pending += 1
      }
    })
    expect(probes).toBe(1)
  })

  it('does not take a quick failure for quick', () => {
    const { clock, endpoints, feed, shares } = setUp(10)
    for (const each of endpoints) feed(each, 20)
    clock.advance(100)
    for (const each of endpoints.slice(1)) feed(each, 20)
    feed(endpoints[0]!, 1, FAILURE)
    expect(endpoints[0]!.estimateMs).toBeGreaterThan(30)
    expect(shares(2_000)[0]).toBe(0)
  })

  it('takes a peer at its word that asks for a pause', () => {
    const { clock, endpoints, feed } = setUp(2)
    for (const each of endpoints) feed(each, 20)
    clock.advance(1_000)
    feed(endpoints[0]!, 1, outcome('failure', 'overloaded', undefined, 429, 4_000))
    feed(endpoints[1]!, 1, outcome('failure', 'overloaded', undefined, 429))
    expect(endpoints[0]!.estimateMs).toBeGreaterThan(2_000)
    expect(endpoints[1]!.estimateMs).toBeLessThan(200)
  })

  it('prefers where fewer streams are open, and asks an endpoint of which it knows nothing but its streams', () => {
    const { clock, endpoints, feed, shares } = setUp(3)
    // As the execution counts streams: load, and not among those that wait for an answer.
    endpoints[0]!.pending = 1
    endpoints[1]!.pending = 2
    endpoints[2]!.pending = 3
    expect(shares(600)[2]).toBe(0)
    for (const each of endpoints) each.pending = 1
    for (const each of endpoints.slice(1)) feed(each, 10)
    expect(shares(600)[0]).toBeGreaterThan(0.2)
    // Once it is being asked, that is enough.
    const attempt = new Attempt(callAt(clock))
    attempt.startedAt = clock.now()
    endpoints[0]!.pending = 2
    endpoints[0]!.oldest = attempt
    expect(shares(600)[0]).toBe(0)
  })

  it('returns to an endpoint not heard of for a second on which nothing but a stream is open', () => {
    const { clock, endpoints, feed, shares } = setUp(10)
    for (const [i, each] of endpoints.entries()) feed(each, i === 0 ? 200 : 10)
    endpoints[0]!.pending = 1
    clock.advance(1_500)
    for (const each of endpoints.slice(1)) feed(each, 10)
    expect(shares(2_000)[0]).toBeGreaterThan(0.005)
  })

  it('returns to an endpoint not heard of for a second, in at most 2 % of picks', () => {
    const { clock, endpoints, feed, shares } = setUp(10)
    for (const [i, each] of endpoints.entries()) feed(each, i === 0 ? 200 : 10)
    clock.advance(1_500)
    for (const each of endpoints.slice(1)) feed(each, 10)
    const [share] = shares(2_000)
    expect(share).toBeGreaterThan(0.005)
    expect(share).toBeLessThanOrEqual(0.0205)
  })

  it('returns the later to an endpoint, the slower it was', () => {
    const { clock, endpoints, feed, shares } = setUp(10)
    const rest = (ms: number): number => {
      clock.advance(ms)
      for (let i = 0; i < 30; i++) for (const each of endpoints.slice(1)) feed(each, 10)
      return shares(2_000)[0]!
    }
    rest(0)
    feed(endpoints[0]!, 1_000)
    expect(rest(3_500)).toBe(0)
    expect(rest(1_000)).toBeGreaterThan(0.005)
  })

  it('gives an endpoint that is slower than few answers ever are hardly a call, however many the others have in flight', () => {
    const { endpoints, feed, shares } = setUp(2)
    for (let i = 0; i < 200; i++) feed(endpoints[1]!, i % 2 === 0 ? 95 : 105)
    feed(endpoints[0]!, 1_000)
    endpoints[1]!.pending = 15
    expect(shares(500)[0]).toBe(0)
  })

  it('counts no silence that is usual here', () => {
    const { clock, endpoints, feed, shares } = setUp(2)
    for (let i = 0; i < 400; i++) for (const each of endpoints) feed(each, i % 10 === 0 ? 60 : 10)
    const attempt = new Attempt(callAt(clock))
    attempt.startedAt = clock.now()
    endpoints[0]!.pending = 1
    endpoints[0]!.oldest = attempt
    endpoints[1]!.pending = 2
    clock.advance(50)
    expect(shares(200)[0]).toBe(1)
    clock.advance(30)
    expect(shares(200)[0]).toBe(0)
  })

  it('lets an estimate that is not fed drift to what is usual', () => {
    const { clock, balancer, endpoints, feed } = setUp(3)
    for (let i = 0; i < 50; i++) feed(endpoints[1]!, 10)
    feed(endpoints[0]!, 500)
    const before = balancer.estimate(endpoints[0]!, clock.now())
    expect(balancer.estimate(endpoints[0]!, clock.now() + 10_000)).toBeLessThan(before / 2)
    expect(balancer.estimate(endpoints[0]!, clock.now() + 1e6)).toBeCloseTo(balancer.medianMs, 0)
  })

  it('learns from a cancelled attempt only that it would have taken at least so long', () => {
    const { clock, endpoints, feed } = setUp(2)
    feed(endpoints[0]!, 50)
    clock.advance(500)
    feed(endpoints[0]!, 1, outcome('cancelled', 'cancelled'))
    expect(endpoints[0]!.estimateMs).toBe(50)
    feed(endpoints[0]!, 400, outcome('cancelled', 'cancelled'))
    expect(endpoints[0]!.estimateMs).toBeGreaterThan(100)
  })

  it('learns nothing from streams, nor from samples that overlap a stall of our own', () => {
    const { clock, balancer, endpoints, feed } = setUp(2)
    feed(endpoints[0]!, 10)
    const stream = new Attempt(callAt(clock, 1e6, { ...KIND, streaming: true }))
    stream.endpoint = endpoints[0]!
    stream.startedAt = clock.now()
    const stalled = new Attempt(callAt(clock))
    stalled.endpoint = endpoints[0]!
    stalled.startedAt = clock.now()
    clock.stall(300)
    balancer.settle(stream, SUCCESS)
    balancer.settle(stalled, SUCCESS)
    expect(endpoints[0]!.estimateMs).toBe(10)
  })
})

describe('alias table', () => {
  it('draws in proportion to the weights', () => {
    const weights = [1, 0.5, 7, 3, 0.01, 12]
    const table = new AliasTable(weights)
    const sum = weights.reduce((a, b) => a + b, 0)
    const counts = weights.map(() => 0)
    const draws = 100_000
    for (let i = 0; i < draws; i++) counts[table.draw((i + 0.5) / draws)]! += 1
    for (const [i, weight] of weights.entries()) expect(counts[i]! / draws).toBeCloseTo(weight / sum, 3)
  })
})
