import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LayeredBalancer } from '../../../src/client/balancing/arranged.ts'
import { createBalancer } from '../../../src/client/balancing/balancer.ts'
import { subsetOf } from '../../../src/client/balancing/subset.ts'
import { BALANCER_NAMES, BALANCING } from '../../../src/resilience/balancing-settings.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { callAt, endpoint } from '../../resilience/conformance.ts'

const ids = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 120 })

describe('a subset', () => {
  it('has the size asked for, or all there are, and depends on nothing but who is there', () => {
    fc.assert(
      fc.property(ids, fc.integer({ min: 1, max: 60 }), fc.string(), (names, size, client) => {
        const endpoints = names.map((id) => endpoint(id))
        const chosen = subsetOf(endpoints, size, client)
        expect(chosen).toHaveLength(Math.min(size, names.length))
        const reversed = subsetOf(endpoints.toReversed(), size, client)
        expect(new Set(reversed)).toEqual(new Set(chosen))
      }),
    )
  })

  it('changes by one endpoint at most when one comes or goes', () => {
    fc.assert(
      fc.property(ids, fc.integer({ min: 1, max: 60 }), fc.nat(), (names, size, nth) => {
        const endpoints = names.map((id) => endpoint(id))
        const gone = endpoints[nth % endpoints.length]!
        const rest = endpoints.filter((each) => each !== gone)
        const before = new Set(subsetOf(endpoints, size, 'client-1'))
        const after = subsetOf(rest, size, 'client-1')
        const fresh = after.filter((each) => !before.has(each))
        expect(fresh.length).toBeLessThanOrEqual(1)
        if (!before.has(gone)) expect(fresh).toEqual([])
      }),
    )
  })

  it('is another for each client, and together they use all endpoints about alike', () => {
    const endpoints = Array.from({ length: 50 }, (_, i) => endpoint(`inventory-${i}`))
    const counts = new Map(endpoints.map((each) => [each, 0]))
    for (let client = 0; client < 1_000; client++) {
      for (const each of subsetOf(endpoints, 20, `client-${client}`)) counts.set(each, counts.get(each)! + 1)
    }
    // 400 each; four standard deviations of a binomial distribution.
    for (const count of counts.values()) expect(Math.abs(count - 400)).toBeLessThan(4 * Math.sqrt(240))
  })

  it('gives no place to an endpoint of weight 0 while there are others', () => {
    const endpoints = Array.from({ length: 30 }, (_, i) => endpoint(`e${i}`, i < 10 ? 0 : 1))
    expect(subsetOf(endpoints, 20, 'c').every((each) => each.weight > 0)).toBe(true)
    for (let client = 0; client < 100; client++) {
      expect(subsetOf(endpoints, 25, `client-${client}`).every((each) => each.weight > 0)).toBe(true)
    }
  })

  it('has each endpoint ranked once, however often the list changes', () => {
    const clock = new FakeClock()
    const endpoints = Array.from({ length: 100 }, (_, i) => endpoint(`e${i}`))
    let ranked = 0
    for (const one of endpoints) {
      const { hashKey } = one
      Object.defineProperty(one, 'hashKey', {
        get: () => {
          ranked += 1
          return hashKey
        },
      })
    }
    const settings = { ...BALANCING.defaults, subsetSize: 10 }
    const { balancer } = createBalancer('round-robin', clock, undefined)
    const client = { id: 'client-1', zone: undefined }
    const arranged = new LayeredBalancer(balancer, settings, client, undefined, clock)
    arranged.picker(endpoints)
    const before = ranked
    for (let i = 1; i < 20; i++) arranged.picker(endpoints.slice(i))
    expect([before > 0, ranked]).toEqual([true, before])
  })

  it('is not made of endpoints of weight 0 alone while another takes calls', () => {
    const clock = new FakeClock()
    const endpoints = [endpoint('heavy', 5), endpoint('a', 0), endpoint('b', 0), endpoint('c', 0)]
    for (const name of BALANCER_NAMES) {
      for (let client = 0; client < 20; client++) {
        const { balancer } = createBalancer(name, clock, undefined)
        const settings = { ...BALANCING.defaults, subsetSize: 2 }
        const arranged = new LayeredBalancer(
          balancer,
          settings,
          { id: `client-${client}`, zone: undefined },
          undefined,
          clock,
        )
        expect([name, arranged.picker(endpoints).pick(callAt(clock))?.id]).toEqual([name, 'heavy'])
      }
    }
  })
})
