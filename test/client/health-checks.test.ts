import { describe, expect, it } from 'vitest'
import { HealthChecks, MOST_RUNNING, type ProbeListener, TIMED_OUT } from '../../src/client/health-checks.ts'
import { Attempt } from '../../src/core/attempt.ts'
import type { Endpoint } from '../../src/core/endpoint.ts'
import { SUCCESS } from '../../src/core/outcome.ts'
import { EjectionPolicy } from '../../src/resilience/ejection.ts'
import { EJECTION } from '../../src/resilience/ejection-settings.ts'
import { HEALTH_CHECK, type HealthCheckOptions } from '../../src/resilience/health-check.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { callAt, endpoint, FAILURE } from '../resilience/conformance.ts'

interface Asked {
  readonly endpoint: Endpoint
  readonly at: number
  readonly path: string
  readonly timeoutMs: number
  readonly done: ProbeListener
  cancelled: boolean
}

/** `answer`: what an endpoint says at once; `undefined`: nothing, until the test calls `done`. */
function setUp(size: number, options: HealthCheckOptions | false = {}, seed = 1) {
  const clock = new FakeClock({ seed })
  const events: string[] = []
  const ejection = new EjectionPolicy(EJECTION.defaults, clock, (at, from, to, reason, holdMs) => {
    events.push(`${at.id}: ${from} -> ${to} (${reason}${to === 'ejected' ? `, ${holdMs}` : ''})`)
  })
  const asked: Asked[] = []
  const world = { answer: (_endpoint: Endpoint): boolean | undefined => true, takesMs: 0 }
  const checks = new HealthChecks({
    clock,
    ejection,
    probe: (path) => (at, timeoutMs, done) => {
      const one: Asked = { endpoint: at, at: clock.now(), path, timeoutMs, done, cancelled: false }
      asked.push(one)
      const answer = world.answer(at)
      const tell = (): void => {
        if (!one.cancelled && answer !== undefined) done(answer, answer ? 'status 200' : 'status 500')
      }
      if (world.takesMs === 0) tell()
      else clock.startTimer(world.takesMs, tell, undefined)
      return () => {
        one.cancelled = true
      }
    },
  })
  const endpoints = Array.from({ length: size }, (_, i) => endpoint(`e${i}`))
  ejection.watch(endpoints)
  if (options !== false) checks.configure(HEALTH_CHECK.resolve(options))
  checks.update(endpoints)
  return { clock, events, ejection, asked, world, checks, endpoints, first: endpoints[0]! }
}

const of = (asked: readonly Asked[], at: Endpoint): Asked[] => asked.filter((each) => each.endpoint === at)

describe('health checks', () => {
  it('ask nobody unless a policy says so', () => {
    const { clock, checks, asked, endpoints } = setUp(3, false)
    const off = setUp(3)
    off.checks.configure(undefined)
    off.checks.update(off.endpoints)
    checks.update(endpoints)
    clock.advance(60_000)
    off.clock.advance(60_000)
    expect(asked).toEqual([])
    expect(off.asked).toEqual([])
    expect(clock.timers + off.clock.timers).toBe(0)
  })

  it('ask every endpoint once an interval, each at its own time', () => {
    const { clock, asked, endpoints } = setUp(5, { path: '/ready', timeout: '300ms' })
    clock.advance(50_000)
    for (const each of endpoints) {
      const times = of(asked, each).map(({ at }) => at)
      expect(times).toHaveLength(10)
      for (let i = 1; i < times.length; i++) expect(Math.abs(times[i]! - times[i - 1]! - 5_000)).toBeLessThanOrEqual(10)
    }
    expect(new Set(asked.slice(0, 5).map(({ at }) => at)).size).toBe(5)
    expect(asked[0]).toMatchObject({ path: '/ready', timeoutMs: 300 })
  })

  it('of many clients do not come together', () => {
    const perTenth = new Array<number>(10).fill(0)
    for (let seed = 1; seed <= 500; seed++) {
      const { clock, asked } = setUp(1, {}, seed)
      clock.advance(5_000)
      perTenth[Math.floor((asked[0]!.at % 5_000) / 500)]! += 1
    }
    expect(Math.min(...perTenth)).toBeGreaterThan(25)
    expect(Math.max(...perTenth)).toBeLessThan(80)
  })

  it('take an endpoint out after three failures in a row and back after two successes, and no attempt probes meanwhile', () => {
    const { clock, events, ejection, world, first } = setUp(4)
    world.answer = (at) => at !== first
    clock.advance(10_000)
    expect(events).toEqual([])
    clock.advance(5_000)
    expect(events).toEqual(['e0: healthy -> ejected (health-check, Infinity)'])
    clock.advance(3_600_000)
    expect(ejection.due(callAt(clock))).toBeUndefined()
    const attempt = new Attempt(callAt(clock))
    attempt.endpoint = first
    expect(ejection.admit(attempt)).toBeUndefined()
    expect(first.state).toBe('ejected')
    ejection.settle(attempt, SUCCESS)
    expect(first.state).toBe('ejected')
    expect(events).toHaveLength(1)

    world.answer = () => true
    clock.advance(5_000)
    expect(first.state).toBe('ejected')
    clock.advance(5_000)
    expect(first.state).toBe('healthy')
    expect(events).toHaveLength(2)
    expect(events[1]).toBe('e0: ejected -> healthy (health-check-passed)')
  })

  it('leave an endpoint in that fails now and then, and out one that passes now and then', () => {
    const { clock, events, world, asked, first } = setUp(4)
    let turn = 0
    world.answer = (at) => at !== first || ++turn % 3 === 0
    clock.advance(300_000)
    expect(events).toEqual([])
    world.answer = (at) => at !== first
    clock.advance(15_000)
    world.answer = (at) => at !== first || ++turn % 2 === 0
    clock.advance(300_000)
    expect(events).toEqual(['e0: healthy -> ejected (health-check, Infinity)'])
    expect(of(asked, first).length).toBeGreaterThan(120)
  })

  it('do not count what was not found out', () => {
    const { clock, checks, events, asked, world, first } = setUp(1)
    world.answer = () => undefined
    for (let i = 0; i < 20; i++) {
      clock.advance(5_000)
      asked.at(-1)!.done(undefined, 'no connection was free')
    }
    expect(events).toEqual([])
    expect(checks.failureOf(first)).toBeUndefined()
    expect(asked.length).toBeGreaterThanOrEqual(20)
  })

  it('do not count a timeout that our own stall overlaps, but do count a refusal then', () => {
    const { clock, events, asked, checks, world, first } = setUp(1)
    world.answer = () => undefined
    for (let i = 0; i < 10; i++) {
      const before = asked.length
      while (asked.length === before) clock.advance(10)
      clock.stall(500)
      clock.advance(500)
      asked.at(-1)!.done(false, TIMED_OUT)
    }
    expect(events).toEqual([])
    for (let i = 0; i < 3; i++) {
      const before = asked.length
      while (asked.length === before) clock.advance(10)
      clock.stall(500)
      asked.at(-1)!.done(false, 'connect-failed')
    }
    expect(events).toEqual(['e0: healthy -> ejected (health-check, Infinity)'])
    expect(checks.failureOf(first)).toBe('connect-failed')
  })

  it('are neither made up for in a burst after a stall, nor brought together by it', () => {
    const { clock, asked } = setUp(1_000)
    clock.advance(5_000)
    for (const ms of [300, 3_000, 60_000]) {
      const before = asked.length
      clock.stall(ms)
      clock.advance(100)
      // A tenth of them at most is late enough to be asked at once, and 20 are due.
      expect(asked.length - before).toBeLessThan(150)
      clock.advance(20_000)
      const since = clock.now() - 5_000
      const perTenth = new Array<number>(10).fill(0)
      for (const { at } of asked) if (at > since) perTenth[Math.min(9, Math.floor((at - since) / 500))]! += 1
      expect(Math.max(...perTenth)).toBeLessThan(150)
      expect(Math.min(...perTenth)).toBeGreaterThan(60)
    }
  })

  it('of ten thousand endpoints are spread evenly over the interval, with one timer', () => {
    const { clock, asked, checks, world } = setUp(10_000)
    world.takesMs = 20
    let most = 0
    for (let i = 0; i < 500; i++) {
      clock.advance(10)
      most = Math.max(most, checks.running)
      expect(clock.timers - checks.running).toBeLessThanOrEqual(1)
    }
    clock.advance(20)
    expect(new Set(asked.map(({ endpoint }) => endpoint)).size).toBe(10_000)
    const perTenth = new Array<number>(10).fill(0)
    for (const { at } of asked) perTenth[Math.min(9, Math.floor(at / 500))]! += 1
    expect(Math.min(...perTenth)).toBeGreaterThan(880)
    expect(Math.max(...perTenth)).toBeLessThan(1_120)
    expect(most).toBeLessThan(MOST_RUNNING)
  })

  it('of ten thousand endpoints that hang are bounded, and reach every one of them in turn', () => {
    const { clock, asked, checks, world } = setUp(10_000)
    world.answer = () => false
    world.takesMs = 1_000
    for (let i = 0; i < 8_000; i++) {
      clock.advance(10)
      expect(checks.running).toBeLessThanOrEqual(MOST_RUNNING)
    }
    const times = new Map<Endpoint, number>()
    for (const { endpoint } of asked) times.set(endpoint, (times.get(endpoint) ?? 0) + 1)
    expect(times.size).toBe(10_000)
    expect(Math.max(...times.values())).toBeLessThanOrEqual(2)
  })

  it('let go of those they took out when they are switched off', () => {
    const { clock, events, ejection, checks, world, endpoints } = setUp(4)
    world.answer = (at) => at === endpoints[3]
    clock.advance(15_000)
    expect(ejection.ejected).toBe(3)
    expect(ejection.panicking).toBe(true)
    world.answer = () => undefined
    clock.advance(5_000)
    expect(checks.running).toBe(4)
    checks.configure(undefined)
    expect(endpoints.map(({ state }) => state)).toEqual(['healthy', 'healthy', 'healthy', 'healthy'])
    expect(events.filter((event) => event.endsWith('ejected -> healthy (switched-off)'))).toHaveLength(3)
    expect(checks.running).toBe(0)
    expect(clock.timers).toBe(0)
  })

  it('leave nothing behind when they are closed', () => {
    const { clock, asked, checks, world } = setUp(10)
    world.answer = () => undefined
    clock.advance(5_000)
    expect(checks.running).toBe(10)
    checks.close()
    expect(asked.every(({ cancelled }) => cancelled)).toBe(true)
    expect(clock.timers).toBe(0)
    for (const { done } of asked) done(false, 'status 500')
    clock.advance(60_000)
    expect(asked).toHaveLength(10)
  })

  it('end for an endpoint that has been withdrawn, also if nobody said so', () => {
    const { clock, asked, checks, world, events, endpoints, first } = setUp(2)
    world.answer = () => undefined
    clock.advance(5_000)
    first.withdrawn = true
    checks.update([endpoints[1]!])
    expect(of(asked, first)[0]!.cancelled).toBe(true)
    endpoints[1]!.withdrawn = true
    clock.advance(20_000)
    expect(asked).toHaveLength(2)
    expect(clock.timers).toBe(0)
    expect(events).toEqual([])
  })

  it('forget an endpoint that they took out when it is no longer to choose from, so that it may come back', () => {
    const { clock, asked, events, ejection, checks, world, endpoints, first } = setUp(3)
    world.answer = (at) => at !== first
    clock.advance(15_000)
    expect(first.state).toBe('ejected')
    const others = endpoints.slice(1)
    ejection.watch(others)
    checks.update(others)
    expect(first.state).toBe('healthy')
    const told = ['e0: healthy -> ejected (health-check, Infinity)', 'e0: ejected -> healthy (withdrawn)']
    expect(events).toEqual(told)
    const before = of(asked, first).length
    clock.advance(20_000)
    expect(of(asked, first)).toHaveLength(before)
    ejection.watch(endpoints)
    checks.update(endpoints)
    clock.advance(15_000)
    expect(events).toEqual([...told, told[0]])
    expect(first.state).toBe('ejected')
  })

  it('keep what they have counted when endpoints or settings change', () => {
    const { clock, asked, checks, world, endpoints, first } = setUp(3, { unhealthyAfter: 4 })
    world.answer = (at) => at !== first
    clock.advance(10_000)
    expect(of(asked, first)).toHaveLength(2)
    checks.update([...endpoints, endpoint('e3')])
    clock.advance(5_000)
    checks.configure(HEALTH_CHECK.resolve({ interval: '1s', unhealthyAfter: 4 }))
    expect(first.state).toBe('healthy')
    clock.advance(1_000)
    expect(of(asked, first)).toHaveLength(4)
    expect(first.state).toBe('ejected')
  })

  it('do not miss a turn because endpoints come and go all the time', () => {
    const { clock, asked, checks, endpoints } = setUp(20)
    for (let i = 0; i < 1_000; i++) {
      clock.advance(50)
      checks.update([...endpoints, endpoint(`new-${i}`)])
    }
    for (const each of endpoints) {
      const { length } = of(asked, each)
      expect(length).toBeGreaterThanOrEqual(9)
      expect(length).toBeLessThanOrEqual(11)
    }
  })
})

describe('an endpoint that health checks took out', () => {
  it('stays out when ejection by attempts is switched off, and only then are the others taken back', () => {
    const { clock, ejection, world, endpoints, first } = setUp(4)
    world.answer = (at) => at !== first
    clock.advance(15_000)
    for (let i = 0; i < 5; i++) {
      const attempt = new Attempt(callAt(clock))
      attempt.endpoint = endpoints[1]
      attempt.startedAt = clock.now()
      ejection.admit(attempt)
      ejection.settle(attempt, FAILURE)
    }
    expect(endpoints.map(({ state }) => state)).toEqual(['ejected', 'ejected', 'healthy', 'healthy'])
    ejection.release()
    expect(endpoints.map(({ state }) => state)).toEqual(['ejected', 'healthy', 'healthy', 'healthy'])
  })

  it('was perhaps out already, or being probed: the checks decide from then on', () => {
    const { clock, events, ejection, world, endpoints, first } = setUp(4, { unhealthyAfter: 1, healthyAfter: 1 })
    for (let i = 0; i < 5; i++) {
      const attempt = new Attempt(callAt(clock))
      attempt.endpoint = first
      attempt.startedAt = clock.now()
      ejection.admit(attempt)
      ejection.settle(attempt, FAILURE)
    }
    clock.advance(1_000)
    const probe = new Attempt(callAt(clock))
    probe.endpoint = ejection.due(probe.call)
    expect(probe.endpoint).toBe(first)
    ejection.admit(probe)
    expect(first.state).toBe('probing')
    world.answer = (at) => at !== first
    clock.advance(5_000)
    ejection.settle(probe, SUCCESS)
    expect(first.state).toBe('ejected')
    expect(ejection.probing).toBe(0)
    world.answer = () => true
    clock.advance(5_000)
    expect(endpoints.every(({ state }) => state === 'healthy')).toBe(true)
    expect(events.slice(-2)).toEqual([
      'e0: probing -> ejected (health-check, Infinity)',
      'e0: ejected -> healthy (health-check-passed)',
    ])
  })
})
