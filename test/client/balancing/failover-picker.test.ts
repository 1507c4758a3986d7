import { describe, expect, it } from 'vitest'
import { LayeredBalancer } from '../../../src/client/balancing/arranged.ts'
import { createBalancer } from '../../../src/client/balancing/balancer.ts'
import { FailoverPicker, type Level } from '../../../src/client/balancing/failover-picker.ts'
import { LevelHealth } from '../../../src/client/balancing/level-health.ts'
import { Attempt } from '../../../src/core/attempt.ts'
import type { Call, HashKey } from '../../../src/core/call.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import { outcome, SUCCESS } from '../../../src/core/outcome.ts'
import { BALANCER_NAMES, BALANCING, type BalancingSettings } from '../../../src/resilience/balancing-settings.ts'
import { EjectionPolicy } from '../../../src/resilience/ejection.ts'
import { EJECTION } from '../../../src/resilience/ejection-settings.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { callAt } from '../../resilience/conformance.ts'
import { zoned } from './zoned.ts'

interface Rig {
  readonly sizes: readonly number[]
  readonly change?: Partial<BalancingSettings>
  readonly key?: HashKey
  readonly draining?: number
}

/** Longer than a test that does not wait for it. */
const HOLD_MS = 60_000

/** Levels of endpoints that stand for services: each has its ejection and its balancer. */
function setUp({ sizes, change = {}, key, draining }: Rig) {
  const clock = new FakeClock({ seed: 5 })
  const settings = { ...BALANCING.defaults, balancer: 'least-request' as const, zone: 'ignore' as const, ...change }
  const ejections = sizes.map(
    () => new EjectionPolicy(EJECTION.resolve({ baseTime: HOLD_MS, maxTime: HOLD_MS }), clock),
  )
  const endpoints = sizes.map((size, i) => Array.from({ length: size }, (_, j) => zoned(`${i}-${j}`, undefined)))
  const levels = sizes.map((_, i): Level => {
    const ejection = ejections[i]!
    const health = new LevelHealth(ejection)
    const { balancer } = createBalancer(settings.balancer, clock, ejection)
    const client = { id: 'client-1', zone: undefined }
    const arranged = new LayeredBalancer(balancer, settings, client, health, clock, (inUse) => ejection.watch(inUse))
    const picker = arranged.picker(endpoints[i]!)
    ejection.watch(picker.inUse ?? endpoints[i]!)
    return { endpoints: endpoints[i]!, draining: i === draining, picker, health }
  })
  const picker = new FailoverPicker(levels, key, clock)
  const pick = (call: Call = callAt(clock)): Endpoint => picker.pick(call)!
  /** The calls of each level, in percent. */
  const spread = (picks = 4_000): number[] => {
    clock.advance(200)
    const counts = sizes.map(() => 0)
    for (let i = 0; i < picks; i++) counts[Number(pick().id[0])]! += 1
    return counts.map((count) => Math.round((100 * count) / picks))
  }
  const settle = (at: Endpoint, end: ReturnType<typeof outcome>): void => {
    const ejection = ejections[Number(at.id[0])]!
    const attempt = new Attempt(callAt(clock))
    attempt.endpoint = at
    attempt.startedAt = clock.now()
    ejection.admit(attempt)
    ejection.settle(attempt, end)
  }
  const eject = (...each: readonly Endpoint[]): void => {
    for (const at of each) settle(at, outcome('refused', 'identity-rejected'))
  }
  return { clock, ejections, endpoints, levels, picker, pick, spread, settle, eject }
}

describe('failover', () => {
  it('keeps all calls in the first level while 71 % of it is healthy, then spills over in proportion', () => {
    const { endpoints, spread, eject } = setUp({ sizes: [7, 7, 7] })
    const [first] = endpoints as [Endpoint[]]
    expect(spread()).toEqual([100, 0, 0])
    eject(first[0]!, first[1]!)
    expect(spread()).toEqual([100, 0, 0])
    eject(first[2]!)
    expect(spread()[0]).toBeCloseTo(80, -1)
    eject(first[3]!)
    expect(spread()[0]).toBeCloseTo(60, -1)
    eject(...first.slice(4))
    expect(spread()).toEqual([0, 100, 0])
    eject(...endpoints[1]!)
    expect(spread()).toEqual([0, 0, 100])
  })

  it('comes back the same way', () => {
    const { ejections, endpoints, spread } = setUp({ sizes: [4, 4] })
    for (const each of endpoints[0]!) ejections[0]!.hold(each)
    expect(spread()).toEqual([0, 100])
    const shares = endpoints[0]!.map((each) => {
      ejections[0]!.letGo(each, 'health-check-passed')
      return spread()[0]!
    })
    expect(shares[0]).toBeCloseTo(35, -1)
    expect(shares[1]).toBeCloseTo(70, -1)
    expect(shares.slice(2)).toEqual([100, 100])
  })

  it('finds out by probes that a level is back', () => {
    const { clock, endpoints, pick, settle, eject, spread } = setUp({ sizes: [2, 4] })
    eject(...endpoints[0]!)
    expect(spread()).toEqual([0, 100])
    clock.advance(HOLD_MS)
    for (let i = 0; i < 2; i++) {
      const probed = pick()
      expect([probed.id[0], probed.state]).toEqual(['0', 'ejected'])
      settle(probed, SUCCESS)
    }
    expect(spread()).toEqual([100, 0])
  })

  it('uses healthy endpoints alone while the levels together carry the load, also in a failing level', () => {
    const { endpoints, eject, spread, pick, ejections } = setUp({ sizes: [4, 4] })
    eject(...endpoints[0]!.slice(1))
    expect(ejections[0]!.panicking).toBe(true)
    expect(spread()[0]).toBeCloseTo(35, -1)
    const picked = new Set(Array.from({ length: 500 }, () => pick()))
    expect([...picked].filter(({ state }) => state !== 'healthy')).toEqual([])
    expect(picked.has(endpoints[0]![0]!)).toBe(true)
  })

  it('panics level by level when all levels together are too weak', () => {
    const { endpoints, eject, spread, pick } = setUp({ sizes: [4, 12] })
    eject(...endpoints[0]!.slice(1), ...endpoints[1]!.slice(3))
    expect(spread()[0]).toBeCloseTo(25, -1)
    expect(new Set(Array.from({ length: 2_000 }, () => pick())).size).toBe(16)
  })

  it('ignores a level without endpoints, and picks nothing where no level has any', () => {
    expect(setUp({ sizes: [0, 3] }).spread()).toEqual([0, 100])
    expect(setUp({ sizes: [3, 0] }).spread()).toEqual([100, 0])
    const { picker, clock } = setUp({ sizes: [0, 0] })
    expect(picker.pick(callAt(clock))).toBeUndefined()
  })

  it('leaves a level whose endpoints drain, but not if there is no other', () => {
    expect(setUp({ sizes: [3, 3], draining: 0 }).spread()).toEqual([0, 100])
    const { endpoints, eject, spread } = setUp({ sizes: [3, 3], draining: 0 })
    eject(...endpoints[1]!)
    expect(spread()).toEqual([100, 0])
    expect(setUp({ sizes: [3, 0], draining: 0 }).spread()).toEqual([100, 0])
  })

  it('goes on to the next level at once, before the shares are computed anew', () => {
    const { clock, endpoints, eject, pick } = setUp({ sizes: [3, 3] })
    pick()
    const now = clock.now()
    eject(...endpoints[0]!)
    expect(pick().id[0]).toBe('1')
    expect(clock.now()).toBe(now)
  })

  it('stays within the first level for a further attempt until each of its endpoints was tried or is out', () => {
    const { clock, endpoints, eject, pick } = setUp({ sizes: [3, 2, 2] })
    eject(endpoints[0]![2]!)
    const call = callAt(clock)
    const walk: string[] = []
    for (let i = 0; i < 6; i++) {
      const endpoint = pick(call)
      walk.push(endpoint.id[0]!)
      call.tried = [...(call.tried ?? []), endpoint]
    }
    expect(walk.join('')).toBe('001122')
    // What failed once is a better bet than what is ejected.
    expect(pick(call).state).toBe('healthy')
  })

  it('takes a level for lost after three endpoints to which the call could not connect', () => {
    const { clock, endpoints, pick, settle } = setUp({ sizes: [20, 20] })
    const walk: string[] = []
    const call = callAt(clock)
    for (let i = 0; i < 5; i++) {
      const at = pick(call)
      walk.push(at.id[0]!)
      call.tried = [...(call.tried ?? []), at]
      if (at.id[0] === '0') settle(at, outcome('refused', 'connect-failed'))
    }
    expect(walk.join('')).toBe('00011')
    // Not after failures: those are answers.
    const other = callAt(clock)
    other.tried = endpoints[0]!.filter(({ state }) => state === 'healthy').slice(0, 5)
    expect(pick(other).id[0]).toBe('0')
  })

  it('stays within the target also for the further attempt of a call that was spilled over', () => {
    const { clock, endpoints, eject, pick } = setUp({ sizes: [4, 4] })
    eject(...endpoints[0]!.slice(1))
    const call = callAt(clock)
    call.tried = [endpoints[1]![0]!]
    expect(pick(call)).toBe(endpoints[0]![0])
  })

  it('sends no probes to a level that is not needed', () => {
    const { clock, endpoints, eject, pick } = setUp({ sizes: [3, 3] })
    eject(endpoints[1]![0]!)
    clock.advance(60_000)
    for (let i = 0; i < 100; i++) expect(pick().id[0]).toBe('0')
  })

  it('probes all levels while none can be reached', () => {
    const { clock, endpoints, settle, pick } = setUp({ sizes: [2, 2] })
    for (const at of endpoints.flat()) {
      settle(at, outcome('refused', 'connect-failed'))
      settle(at, outcome('refused', 'connect-failed'))
    }
    clock.advance(60_000)
    const probed = new Set<string>()
    for (let i = 0; i < 4; i++) {
      const at = pick()
      const attempt = new Attempt(callAt(clock))
      attempt.endpoint = at
      probed.add(at.id)
      settle(at, outcome('refused', 'connect-failed'))
    }
    expect(probed.size).toBe(4)
  })

  it('counts by weight, and by number where all weights are 0', () => {
    const { endpoints, eject, spread } = setUp({ sizes: [4, 4] })
    endpoints[0]![0]!.weight = 300
    eject(endpoints[0]![0]!)
    expect(spread()[0]).toBeCloseTo(70, -1)
    for (const each of endpoints[0]!) each.weight = 0
    expect(spread()).toEqual([100, 0])
  })

  it('gives a level of new endpoints its calls as they warm up, and a warm one keeps them while it grows', () => {
    const { clock, endpoints, spread } = setUp({ sizes: [4, 4] })
    const warmUp = (each: Endpoint) => {
      each.discoveredAt = clock.now()
      each.warmAt = clock.now() + 60_000
    }
    for (const each of endpoints[0]!.slice(2)) warmUp(each)
    expect(spread()).toEqual([100, 0])
    for (const each of endpoints[0]!) warmUp(each)
    expect(spread()[0]).toBeCloseTo(14, -1)
    clock.advance(30_000)
    expect(spread()[0]).toBeCloseTo(70, -1)
    clock.advance(15_000)
    expect(spread()).toEqual([100, 0])
  })

  it('moves only the keys that the first level loses, with a hashing balancer', () => {
    const key: HashKey = { header: 'x-user', cookie: undefined, path: false }
    const { clock, endpoints, eject, picker } = setUp({
      sizes: [4, 4],
      change: { balancer: 'maglev', hashKey: key },
      key,
    })
    const levelsOf = (): string =>
      Array.from({ length: 400 }, (_, i) => {
        const call = callAt(clock)
        call.hashKey = `user-${i}`
        return picker.pick(call)!.id[0]
      }).join('')
    const places: string[] = [levelsOf()]
    for (const each of endpoints[0]!) {
      eject(each)
      clock.advance(200)
      places.push(levelsOf())
    }
    for (let i = 1; i < places.length; i++) {
      const back = [...places[i]!].filter((level, user) => level === '0' && places[i - 1]![user] === '1')
      expect(back).toEqual([])
    }
    expect(new Set(places.at(-1))).toEqual(new Set('1'))
  })

  it.each(BALANCER_NAMES)('works with %s and with client subsets', (balancer) => {
    const { clock, endpoints, eject, spread, pick } = setUp({ sizes: [40, 40], change: { balancer, subsetSize: 4 } })
    expect(spread(400)).toEqual([100, 0])
    // Far more than the client's subset: it uses others of its level first.
    const used = new Set(Array.from({ length: 400 }, () => pick()))
    expect(used.size).toBe(4)
    eject(...used)
    clock.advance(200)
    for (let i = 0; i < 50; i++) expect(pick().state).toBe('healthy')
    eject(...endpoints[0]!)
    clock.advance(200)
    for (let i = 0; i < 50; i++) expect(pick().id[0]).toBe('1')
  })
})
