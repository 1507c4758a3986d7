import { describe, expect, it } from 'vitest'
import { LayeredBalancer } from '../../../src/client/balancing/arranged.ts'
import { createBalancer } from '../../../src/client/balancing/balancer.ts'
import { Attempt } from '../../../src/core/attempt.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import { outcome, SUCCESS } from '../../../src/core/outcome.ts'
import { BALANCING, type BalancingSettings } from '../../../src/resilience/balancing-settings.ts'
import { EjectionPolicy } from '../../../src/resilience/ejection.ts'
import { EJECTION } from '../../../src/resilience/ejection-settings.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { callAt } from '../../resilience/conformance.ts'
import { zoned } from './zoned.ts'

function setUp(
  zones: readonly (string | undefined)[],
  change: Partial<BalancingSettings> = {},
  own: string | null = 'a',
) {
  const clock = new FakeClock({ seed: 3 })
  const ejection = new EjectionPolicy(EJECTION.resolve(), clock)
  const endpoints = zones.map((zone, i) => zoned(`e${i}`, zone))
  const settings = { ...BALANCING.defaults, balancer: 'least-request' as const, ...change }
  const { balancer, policy } = createBalancer(settings.balancer, clock, ejection)
  const client = { id: 'client-1', zone: own ?? undefined }
  const layered = new LayeredBalancer(balancer, settings, client, ejection, clock)
  const picker = layered.picker(endpoints)
  ejection.watch(endpoints)
  const localShare = (picks = 4_000): number => {
    clock.advance(200)
    let count = 0
    for (let i = 0; i < picks; i++) if (picker.pick(callAt(clock))!.zone === own) count += 1
    return count / picks
  }
  const fail = (at: Endpoint): void => {
    const attempt = new Attempt(callAt(clock))
    attempt.endpoint = at
    attempt.startedAt = clock.now()
    ejection.settle(attempt, outcome('refused', 'identity-rejected'))
  }
  return { clock, ejection, endpoints, layered, picker, policy, localShare, fail }
}

/** The balancer learns `answers` more answers of it, after `ms` each. */
function answer(at: Endpoint, ms: number, answers: number): void {
  at.samples += answers
  at.samplesMs += answers * ms
}

const THREE_EACH = ['a', 'a', 'a', 'a', 'b', 'b', 'b', 'b', 'c', 'c', 'c', 'c']

describe('zone preference', () => {
  it('keeps all calls in the own zone while it can bear them', () => {
    const { endpoints, localShare } = setUp(THREE_EACH)
    expect(localShare()).toBe(1)
    endpoints[0]!.state = 'ejected'
    // 3 of 11 healthy, three zones: 82 % of the fair share, times 1.4.
    expect(localShare()).toBe(1)
  })

  it('lets spill over what would be more than 1.4 times the mean load', () => {
    const { endpoints, localShare } = setUp(THREE_EACH)
    endpoints[0]!.state = 'ejected'
    endpoints[1]!.state = 'ejected'
    expect(localShare()).toBeCloseTo((1.4 * 3 * 2) / 10, 1)
    endpoints[2]!.state = 'ejected'
    expect(localShare()).toBeCloseTo((1.4 * 3 * 1) / 9, 1)
    endpoints[3]!.state = 'ejected'
    expect(localShare()).toBe(0)
    for (const each of endpoints) each.state = 'healthy'
    expect(localShare()).toBe(1)
  })

  it('does not load a zone of few endpoints with the calls of many', () => {
    const { localShare } = setUp(['a', 'b', 'b', 'b', 'b', 'b', 'b', 'b', 'b', 'b'])
    expect(localShare()).toBeCloseTo(0.28, 1)
  })

  it('forgets the latency that another balancer measured before', () => {
    const { endpoints, localShare } = setUp(['a', 'b', 'b', 'b', 'b', 'b', 'b', 'b', 'b', 'b'])
    for (const each of endpoints) answer(each, 40, 20)
    expect(localShare()).toBeCloseTo(0.28, 1)
  })

  describe('where latency is measured', () => {
    const zones = ['a', 'b', 'b', 'b', 'b', 'b', 'b', 'b', 'b', 'b']
    const measured = (here: number, elsewhere: number) => {
      const world = setUp(zones, { balancer: 'peak-ewma' })
      /** Before each look `answers` of each endpoint. */
      const shares = (times: number, answers = 20): number[] =>
        Array.from({ length: times }, () => {
          for (const each of world.endpoints) answer(each, each.zone === 'a' ? here : elsewhere, answers)
          return world.localShare(200)
        })
      /** Shares while those of the own zone answer after `ms`. */
      const next = (ms: number, times: number, answers = 20): number[] => {
        here = ms
        return shares(times, answers)
      }
      return { ...world, shares, next }
    }

    it('keeps calls in a zone of any size while it answers as quickly as the others', () => {
      expect(measured(50, 40).shares(50).at(-1)).toBe(1)
    })

    it('lets spill over as soon as it is slower, the more the slower it is', () => {
      const slower = measured(90, 40).shares(8).at(-1)!
      const muchSlower = measured(200, 40).shares(8).at(-1)!
      expect(slower).toBeLessThan(0.9)
      expect(muchSlower).toBeLessThan(slower - 0.1)
      // In the end it gets what any endpoint gets.
      expect(measured(200, 40).shares(40).at(-1)).toBeLessThan(0.2)
    })

    it('keeps calls in a zone whose answers take no time at all', () => {
      const { clock, endpoints, localShare, policy } = setUp(zones, { balancer: 'least-load' })
      for (let look = 0; look < 20; look++) {
        for (const each of endpoints) {
          const attempt = new Attempt(callAt(clock))
          attempt.endpoint = each
          attempt.startedAt = clock.now()
          policy!.settle(attempt, SUCCESS)
        }
        expect(localShare(200)).toBeGreaterThan(0.9)
      }
    })

    it('comes back within seconds', () => {
      const world = measured(200, 40)
      world.shares(40)
      expect(world.next(40, 60).some((share) => share > 0.99)).toBe(true)
    })

    it('is not moved by what a few answers say by chance', () => {
      const world = measured(40, 40)
      world.shares(20)
      // One of a dozen answers takes three times as long: no wonder, if latencies scatter.
      for (let i = 0; i < 30; i++) {
        const [share] = i % 12 === 0 ? world.next(120, 1, 1) : world.next(40, 1, 1)
        expect(share).toBe(1)
      }
    })

    it('gives way at once when the last few answers are many times slower', () => {
      const world = measured(40, 40)
      world.shares(20)
      expect(world.next(800, 1, 3)[0]).toBeLessThan(0.7)
    })

    it('gives way to attempts that are not answered at all', () => {
      const world = measured(40, 40)
      world.shares(20)
      const [own] = world.endpoints
      const call = callAt(world.clock)
      const silent = Array.from({ length: 4 }, () => new Attempt(call))
      own!.oldest = silent[0]
      silent[0]!.startedAt = world.clock.now()
      world.clock.advance(600)
      expect(world.localShare(200)).toBeLessThan(0.95)
    })

    it('compares the zone with what it was while nothing is known of elsewhere', () => {
      const { localShare, endpoints } = setUp(zones, { balancer: 'peak-ewma' })
      const shareAfter = (ms: number, answers = 20): number => {
        answer(endpoints[0]!, ms, answers)
        return localShare(400)
      }
      for (let i = 0; i < 30; i++) shareAfter(40)
      expect(shareAfter(40)).toBeGreaterThan(0.9)
      expect(shareAfter(800, 3)).toBeLessThan(0.7)
    })

    it('begins anew with other endpoints, and takes nothing of them for an answer', () => {
      const world = measured(40, 40)
      world.shares(20)
      const more = zones.map((zone, i) => zoned(`n${i}`, zone))
      for (const each of more) answer(each, 5_000, 1_000)
      const next = world.layered.picker(more)
      world.ejection.watch(more)
      world.clock.advance(200)
      let local = 0
      for (let i = 0; i < 1_000; i++) if (next.pick(callAt(world.clock))!.zone === 'a') local += 1
      expect(local).toBe(1_000)
    })

    it('asks elsewhere now and then while little is known of there', () => {
      const { localShare, endpoints } = setUp(zones, { balancer: 'peak-ewma' })
      for (let i = 0; i < 60; i++) {
        answer(endpoints[0]!, 40, 20)
        localShare(200)
      }
      const share = localShare(4_000)
      expect(share).toBeLessThan(1)
      expect(share).toBeGreaterThan(0.97)
    })

    it('sends no more to the healthy part of the zone than 1.4 times its share', () => {
      const { endpoints, localShare } = setUp(THREE_EACH, { balancer: 'peak-ewma' })
      for (const each of endpoints) answer(each, 40, 20)
      for (const each of endpoints.slice(0, 2)) each.state = 'ejected'
      expect(localShare()).toBeCloseTo(0.7, 1)
    })
  })

  it('ignores zones when most endpoints are ejected', () => {
    const { clock, ejection, endpoints, picker, fail } = setUp(['a', 'a', 'b', 'b'])
    for (const each of endpoints.slice(1)) fail(each)
    expect(ejection.panicking).toBe(true)
    expect(new Set(Array.from({ length: 300 }, () => picker.pick(callAt(clock)))).size).toBe(4)
  })

  it('leaves the zone for a retry rather than repeat an endpoint', () => {
    const { clock, endpoints, picker } = setUp(['a', 'b', 'b'])
    const call = callAt(clock)
    call.tried = [endpoints[0]!]
    for (let i = 0; i < 50; i++) expect(picker.pick(call)!.zone).toBe('b')
  })

  it('sends probes into other zones, too', () => {
    const { clock, endpoints, picker, fail } = setUp(['a', 'a', 'b', 'b'])
    fail(endpoints[3]!)
    clock.advance(1_000)
    expect(picker.pick(callAt(clock))).toBe(endpoints[3])
  })

  it('leaves alone what is watched, also when a pick needs another zone', () => {
    const { clock, ejection, endpoints, picker, fail } = setUp(['a', 'b', 'b', 'b'])
    fail(endpoints[3]!)
    fail(endpoints[0]!)
    for (let i = 0; i < 100; i++) expect(picker.pick(callAt(clock))!.zone).toBe('b')
    expect(ejection.ejected).toBe(2)
  })

  it.each([
    ['the zone of one endpoint is unknown', ['a', 'b', undefined], {}, 'a'],
    ['this process has none', ['a', 'b', 'b'], {}, null],
    ['no endpoint is in this zone', ['b', 'c', 'c'], {}, 'a'],
    ['the policy says so', ['a', 'b', 'b'], { zone: 'ignore' as const }, 'a'],
  ])('does not exist if %s', (_, zones, change, own) => {
    const { clock, picker } = setUp(zones, change, own)
    const counts = new Map<string, number>()
    for (let i = 0; i < 3_000; i++) {
      const { id } = picker.pick(callAt(clock))!
      counts.set(id, (counts.get(id) ?? 0) + 1)
    }
    for (const count of counts.values()) expect(count / 1_000).toBeCloseTo(1, 0)
    expect(counts.size).toBe(3)
  })
})
