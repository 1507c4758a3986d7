import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LayeredBalancer } from '../../../src/client/balancing/arranged.ts'
import { createBalancer } from '../../../src/client/balancing/balancer.ts'
import type { EndpointState } from '../../../src/core/endpoint.ts'
import { BALANCER_NAMES, BALANCING } from '../../../src/resilience/balancing-settings.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { callAt, endpoint } from '../../resilience/conformance.ts'
import { zoned } from './zoned.ts'

const STATES: readonly EndpointState[] = ['healthy', 'ejected', 'probing']

const cluster = fc.array(
  fc.record({
    state: fc.constantFrom(...STATES),
    tried: fc.boolean(),
    weight: fc.integer({ min: 1, max: 300 }),
    zone: fc.constantFrom('a', 'b', 'c'),
    pending: fc.integer({ min: 0, max: 20 }),
    warming: fc.boolean(),
  }),
  { minLength: 1, maxLength: 40 },
)

describe.each(BALANCER_NAMES)('%s, whatever is arranged before it', (name) => {
  it('never picks an endpoint that is ejected or tried while a healthy untried one is left', () => {
    fc.assert(
      fc.property(
        cluster,
        fc.boolean(),
        fc.option(fc.string(), { nil: undefined }),
        fc.nat(),
        (specs, zones, key, seed) => {
          const clock = new FakeClock({ seed })
          clock.advance(5_000)
          const health = { panicking: false, ejected: 0, watch: () => undefined, due: () => undefined }
          const endpoints = specs.map((spec, i) => {
            const made = zones ? zoned(`e${i}`, spec.zone, spec.weight) : endpoint(`e${i}`, spec.weight)
            made.state = spec.state
            made.pending = spec.pending
            if (spec.warming) {
              made.discoveredAt = clock.now() - 500
              made.warmAt = clock.now() + 9_500
            }
            return made
          })
          const { balancer } = createBalancer(name, clock, health)
          const settings = { ...BALANCING.defaults, balancer: name, zone: 'prefer' as const }
          const client = { id: 'me', zone: 'a' }
          const picker = new LayeredBalancer(balancer, settings, client, health, clock).picker(endpoints)
          const call = callAt(clock)
          call.hashKey = key
          const tried = endpoints.filter((_, i) => specs[i]!.tried)
          if (tried.length > 0) call.tried = tried
          const isGood = (at: (typeof endpoints)[number]): boolean => at.state === 'healthy' && !tried.includes(at)
          const anyGood = endpoints.some(isGood)
          for (let i = 0; i < 30; i++) {
            const picked = picker.pick(call)!
            expect(endpoints).toContain(picked)
            if (anyGood && endpoints.length > 1) expect(isGood(picked)).toBe(true)
          }
        },
      ),
      { numRuns: 80 },
    )
  })

  it('gives a new endpoint a tenth of its share, then more with its age, whatever its estimate', () => {
    const clock = new FakeClock({ seed: 2 })
    const { balancer } = createBalancer(name, clock, undefined)
    const endpoints = Array.from({ length: 10 }, (_, i) => endpoint(`inventory-${i}`))
    clock.advance(60_000)
    const fresh = endpoints[3]!
    const share = (): number => {
      for (const each of endpoints) {
        each.estimateMs = 10
        each.estimatedAt = clock.now()
      }
      const picker = balancer.picker(endpoints)
      let count = 0
      for (let i = 0; i < 50_000; i++) if (picker.pick(callAt(clock)) === fresh) count += 1
      return count / 50_000
    }
    const full = share()
    fresh.discoveredAt = clock.now()
    fresh.warmAt = clock.now() + 10_000
    expect(share() / full).toBeLessThan(0.15)
    expect(share() / full).toBeGreaterThan(0.05)
    clock.advance(5_000)
    expect(share() / full).toBeCloseTo(0.5, 0)
    clock.advance(5_000)
    expect(share() / full).toBeCloseTo(1, 1)
  })
})
