import { describe, expect, it } from 'vitest'
import { LayeredBalancer } from '../../../src/client/balancing/arranged.ts'
import { createBalancer } from '../../../src/client/balancing/balancer.ts'
import { Attempt } from '../../../src/core/attempt.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import { outcome } from '../../../src/core/outcome.ts'
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
  const { balancer } = createBalancer(settings.balancer, clock, ejection)
  const client = { id: 'client-1', zone: own ?? undefined }
  const picker = new LayeredBalancer(balancer, settings, client, ejection, clock).picker(endpoints)
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
  return { clock, ejection, endpoints, picker, localShare, fail }
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

  describe('where latency is measured', () => {
    const zones = ['a', 'b', 'b', 'b', 'b', 'b', 'b', 'b', 'b', 'b']
    const measured = (here: number, elsewhere: number) => {
      const world = setUp(zones, { balancer: 'peak-ewma' })
      const measure = (): void => {
        for (const each of world.endpoints) {
          each.estimateMs = each.zone === 'a' ? here : elsewhere
          each.estimatedAt = world.clock.now()
        }
      }
      const shares = (times: number): number[] =>
        Array.from({ length: times }, () => {
          measure()
          return world.localShare(200)
        })
      return { ...world, shares }
    }

    it('keeps calls in a zone of any size while it answers as quickly as the others', () => {
      expect(measured(50, 40).shares(50).at(-1)).toBe(1)
    })

    it('lets spill over as soon as it is slower, the more the slower it is', () => {
      const slower = measured(70, 40).shares(4).at(-1)!
      const muchSlower = measured(200, 40).shares(4).at(-1)!
      expect(slower).toBeLessThan(0.9)
      expect(muchSlower).toBeLessThan(slower - 0.1)
      // In the end it gets what any endpoint gets.
      expect(measured(200, 40).shares(40).at(-1)).toBeLessThan(0.2)
    })

    it('comes back within seconds', () => {
      const world = measured(200, 40)
      world.shares(40)
      for (const each of world.endpoints) each.estimateMs = 40
      let rounds = 0
      while (world.localShare(200) < 0.99 && rounds < 100) rounds += 1
      expect(rounds).toBeLessThan(60)
    })

    it('asks elsewhere now and then while nothing is known of there', () => {
      const { localShare, endpoints } = setUp(zones, { balancer: 'peak-ewma' })
      endpoints[0]!.estimateMs = 40
      for (let i = 0; i < 20; i++) localShare(200)
      const share = localShare(4_000)
      expect(share).toBeLessThan(1)
      expect(share).toBeGreaterThan(0.97)
    })

    it('sends no more to the healthy part of the zone than 1.4 times its share', () => {
      const { endpoints, localShare } = setUp(THREE_EACH, { balancer: 'peak-ewma' })
      for (const each of endpoints) each.estimateMs = 40
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
