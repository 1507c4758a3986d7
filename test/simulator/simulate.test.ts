/** Documents change what a simulation gives, in the direction that their policies promise. */
import { describe, expect, it } from 'vitest'
import type { PolicyDocument } from '../../src/discovery/policy-document.ts'
import type { ScenarioFault } from '../../src/simulator/scenario.ts'
import { simulate } from '../../src/simulator/simulate.ts'
import { run, scenarioOf, shareOf } from './rig.ts'

function fault(kind: ScenarioFault['kind'], servers: readonly number[], fromMs = 2_000, untilMs = 4_000) {
  return { name: 'fault', kind, servers, fromMs, untilMs }
}
const all = Array.from({ length: 10 }, (_, i) => i)
const NOTHING_HELPS = { ejection: false, circuitBreaker: false, throttle: false, balancer: 'round-robin' } as const

describe('a run', () => {
  it('is the same for the same seed, and another for another seed', () => {
    const faults = [fault({ fails: 0.5 }, [0, 1]), fault('stopped', [2])]
    expect(run({}, { faults })).toEqual(run({}, { faults }))
    expect(run({}, { faults, seed: 2 }).total).not.toEqual(run({}, { faults }).total)
  })

  it('offers the rate, and all calls are in its rows and phases', () => {
    const { total, rows, phases } = run({}, { faults: [fault({ slow: 5 }, [0])] })
    expect(total.calls).toBeGreaterThan(2_700)
    expect(total.calls).toBeLessThan(3_300)
    expect(total.failed).toBe(0)
    expect(rows.map(({ fromMs }) => fromMs)).toEqual([0, 1_000, 2_000, 3_000, 4_000, 5_000])
    expect(phases.map(({ faults: names }) => names)).toEqual([[], ['fault'], []])
    for (const parts of [rows, phases]) {
      expect(parts.reduce((sum, { calls }) => sum + calls, 0)).toBe(total.calls)
      expect(parts.reduce((sum, { attempts }) => sum + attempts, 0)).toBe(total.attempts)
    }
  })

  it('counts calls that never get an answer as failed', () => {
    const faults = [fault('stopped', all, 2_000, Number.POSITIVE_INFINITY)]
    const { unanswered, total, phases } = run({ timeout: '1h', retry: { attempts: 1 } }, { faults, perSecond: 50 })
    expect(phases).toHaveLength(2)
    expect(unanswered).toBeGreaterThan(100)
    expect(total.failed).toBe(unanswered)
  })

  it('what is stopped goes on, and answers late', () => {
    const faults = [fault('stopped', all, 2_000, 6_000)]
    const { unanswered, total, phases } = run({ timeout: '1h', retry: { attempts: 1 } }, { faults, perSecond: 50 })
    expect([unanswered, total.failed]).toEqual([0, 0])
    expect(phases[1]!.p50Ms).toBeGreaterThan(1_000)
  })

  it('ends when its attempts are too many', () => {
    expect(() => simulate(scenarioOf({}), 1_000)).toThrow(RangeError)
    expect(simulate(scenarioOf({}), 10_000).total.calls).toBeGreaterThan(1_000)
  })
})

describe('policies of the document', () => {
  const failing = { faults: [fault({ fails: 1 }, [0, 1])] }

  it('retries of a status save calls', () => {
    const without = run({ ...NOTHING_HELPS, retry: { attempts: 1 } }, failing)
    const saved = run({ ...NOTHING_HELPS, retry: { attempts: 3, statuses: [500] } }, failing)
    expect(without.phases[1]!.failed).toBeGreaterThan(100)
    expect(saved.phases[1]!.failed).toBeLessThan(without.phases[1]!.failed / 5)
    expect(saved.total.retries).toBeGreaterThan(100)
    expect(without.total.retries).toBe(0)
  })

  it('perTryTimeout bounds the last attempt if the document says so', () => {
    const slow = { meanMs: 100, latency: 'constant', perSecond: 100 } as const
    const retry = { attempts: 1, perTryTimeout: '50ms' } as const
    expect(run({ ...NOTHING_HELPS, retry }, slow).total.failed).toBe(0)
    const { total } = run({ ...NOTHING_HELPS, retry: { ...retry, boundLastTry: true } }, slow)
    expect(total.failed).toBe(total.calls)
  })

  it('a call that must not be repeated is not retried', () => {
    const request = { method: 'POST', path: '/', header: () => undefined }
    const { total } = run({ ...NOTHING_HELPS, retry: { attempts: 3, statuses: [500] } }, { ...failing, request })
    expect(total.retries).toBe(0)
    expect(total.failed).toBeGreaterThan(100)
  })

  it('a circuit breaker keeps attempts from a service that fails', () => {
    const outage = { faults: [fault({ fails: 1 }, all, 500, 5_500)] }
    const off = run({ ...NOTHING_HELPS, retry: { attempts: 1 } }, outage)
    const { circuitBreaker: _, ...rest } = NOTHING_HELPS
    const on = run({ ...rest, retry: { attempts: 1 } }, outage)
    expect(on.events['circuit:transition']).toBeGreaterThanOrEqual(4)
    expect(off.events['circuit:transition']).toBeUndefined()
    expect(on.phases[1]!.attempts).toBeLessThan(off.phases[1]!.attempts / 2)
  })

  it('the default balancer keeps away from a slow server, round robin does not', () => {
    const slow = { faults: [fault({ slow: 20 }, [3])] }
    const own = run({ ejection: false }, slow)
    const inTurn = run({ ejection: false, balancer: 'round-robin' }, slow)
    expect(shareOf(own, [3], 1)).toBeLessThan(0.03)
    expect(shareOf(inTurn, [3], 1)).toBeGreaterThan(0.09)
    expect(own.phases[1]!.p99Ms).toBeLessThan(inTurn.phases[1]!.p99Ms!)
    expect(own.rows[3]!.toFaulty / own.rows[3]!.attempts).toBeLessThan(0.03)
  })

  it('ejection takes servers out that refuse connections', () => {
    const refusing = { faults: [fault('refuses', [0, 1])] }
    const { events, total } = run({}, refusing)
    expect(events['endpoint:ejected']).toBeGreaterThan(0)
    expect(total.failed).toBe(0)
  })

  it('health checks hold a server that does not answer, and give it back', () => {
    const { events } = run(
      { healthCheck: { interval: 200, timeout: 100 }, balancer: 'round-robin', retry: { attempts: 1 }, timeout: 300 },
      { faults: [fault('stopped', [0], 1_000, 2_500)], perSecond: 100 },
    )
    expect(events['endpoint:ejected']).toBeGreaterThanOrEqual(4)
    expect(events['endpoint:restored']).toBeGreaterThanOrEqual(4)
  })

  it('limits and faults of the document are those of its servers', () => {
    const limited = run({ ...NOTHING_HELPS, limits: { rate: 10 }, retry: { attempts: 1 } }, {})
    expect(limited.total.failed / limited.total.calls).toBeGreaterThan(0.6)
    const faulty = run({ ...NOTHING_HELPS, faults: [{ status: 500, share: '20%', from: 'checkout' }] })
    expect(faulty.total.failed / faulty.total.calls).toBeCloseTo(0.2, 1)
    const ofOthers = run({ ...NOTHING_HELPS, faults: [{ status: 500, from: 'billing' }] })
    expect(ofOthers.total.failed).toBe(0)
    const late = run({ ...NOTHING_HELPS, faults: [{ delay: 300 }] })
    expect(late.total.p50Ms).toBeGreaterThan(300)
  })

  it('the defaults of mesh hold', () => {
    const mesh: PolicyDocument = { service: 'mesh', ...NOTHING_HELPS, retry: { attempts: 1 } }
    const documents = [mesh, { service: 'inventory' }]
    expect(run({}, { ...failing, documents }).total.failed).toBeGreaterThan(100)
  })

  it('a hashing balancer gets keys', () => {
    const { traffic, total } = run({ balancer: 'maglev' })
    expect(total.failed).toBe(0)
    expect(Math.min(...traffic.map(({ attempts }) => attempts[0]!))).toBeGreaterThan(0)
  })
})

describe('routes of the document', () => {
  const subsets = { blue: { version: 'v1' }, green: { version: 'v2' } }

  it('a split gives each subset its share', () => {
    const { traffic } = run({
      subsets,
      routes: [
        {
          name: 'canary',
          split: [
            { to: 'blue', weight: 90 },
            { to: 'green', weight: 10 },
          ],
        },
      ],
    })
    const green = traffic.flatMap(({ version, attempts }) => (version === 'v2' ? attempts : []))
    const every = traffic.flatMap(({ attempts }) => attempts)
    const sum = (counts: readonly number[]): number => counts.reduce((a, b) => a + b, 0)
    expect(sum(green) / sum(every)).toBeCloseTo(0.1, 2)
  })

  it('method, path and headers of the calls decide', () => {
    const routes = [
      { name: 'beta', match: [{ path: '/items/{id}', headers: { 'x-beta': '1' } }], to: 'green' },
      { name: 'gone', match: [{ path: '/gone' }], respond: { status: 410 } },
      { name: 'ill', match: [{ path: '/ill' }], respond: { status: 503 } },
      { name: 'rest', to: 'blue' },
    ]
    const versions = (path: string, headers: Record<string, string> = {}) => {
      const request = { method: 'GET', path, header: (name: string) => headers[name] }
      const { traffic, total } = run({ subsets, routes }, { request, durationMs: 1_000 })
      const used = traffic.filter(({ attempts }) => attempts[0]! > 0).map(({ version }) => version)
      return { used: [...new Set(used)], failed: total.failed === total.calls ? 'all' : total.failed }
    }
    expect(versions('/items/7', { 'x-beta': '1' })).toEqual({ used: ['v2'], failed: 0 })
    expect(versions('/items/7')).toEqual({ used: ['v1'], failed: 0 })
    expect(versions('/gone')).toEqual({ used: [], failed: 0 })
    expect(versions('/ill')).toEqual({ used: [], failed: 'all' })
  })

  it('a session without a token goes anywhere', () => {
    const split = [
      { to: 'blue', weight: 1 },
      { to: 'green', weight: 1 },
    ]
    const { total } = run({ subsets, routes: [{ name: 'session', split, session: { cookie: 'sid' } }] })
    expect(total.failed).toBe(0)
    expect(total.calls).toBeGreaterThan(2_000)
  })

  it('another service takes over when the own one is gone', () => {
    const { traffic, total } = run(
      { failover: [{ zone: 'any' }, { service: 'inventory-eu' }] },
      { faults: [fault('refuses', all)] },
    )
    const by = (service: string): number =>
      traffic.filter((one) => one.service === service).reduce((sum, { attempts }) => sum + attempts[1]!, 0)
    expect(by('inventory-eu')).toBeGreaterThan(800)
    expect(total.failed).toBeLessThan(20)
  })

  it('clients prefer their zone', () => {
    const { traffic } = simulate(scenarioOf({}, { zones: 2, clients: 1, perSecond: 200 }))
    const own = traffic.filter(({ zone }) => zone === 'zone-1').reduce((sum, { attempts }) => sum + attempts[0]!, 0)
    const other = traffic.filter(({ zone }) => zone === 'zone-2').reduce((sum, { attempts }) => sum + attempts[0]!, 0)
    expect(own).toBeGreaterThan(other * 1.5)
  })
})
