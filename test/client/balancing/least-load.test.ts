import { describe, expect, it } from 'vitest'
import { Attempt } from '../../../src/core/attempt.ts'
import type { LoadReport } from '../../../src/core/load-report.ts'
import { outcome, SUCCESS } from '../../../src/core/outcome.ts'
import { callAt, endpoint, FAILURE, KIND } from '../../resilience/conformance.ts'
import { introduce, setUp } from './answering.ts'

describe('least-load: what has just answered', () => {
  it('goes where an answer came from a moment ago, if there is less load than where chance points', () => {
    const { endpoints, answer, acquaint, pick, shares } = setUp(50)
    acquaint(20)
    introduce(endpoints, pick)
    answer(endpoints[7]!, 1)
    expect(shares(200)[7]).toBeGreaterThan(0.95)
  })

  it('uses each answer once', () => {
    const { endpoints, answer, acquaint, pick, send } = setUp(50)
    acquaint(20)
    introduce(endpoints, pick)
    answer(endpoints[7]!, 1)
    answer(endpoints[8]!, 1)
    expect(new Set([send(), send()])).toEqual(new Set([endpoints[7], endpoints[8]]))
    const next = Array.from({ length: 20 }, send)
    expect(next.filter((each) => each === endpoints[7] || each === endpoints[8]).length).toBeLessThan(6)
  })

  it('has forgotten an answer after a second', () => {
    const { clock, endpoints, answer, acquaint, pick, shares } = setUp(50)
    acquaint(20)
    introduce(endpoints, pick)
    answer(endpoints[7]!, 1)
    clock.advance(999)
    expect(shares(100)[7]).toBeGreaterThan(0.9)
    clock.advance(2)
    expect(shares(500)[7]).toBeLessThan(0.1)
  })

  it('remembers the last eight', () => {
    const { clock, endpoints, answer, acquaint, pick, send } = setUp(50)
    acquaint(20)
    introduce(endpoints, pick)
    for (const each of endpoints.slice(0, 10)) {
      answer(each, 1)
      clock.advance(1)
    }
    const sent = Array.from({ length: 8 }, () => send())
    expect(new Set(sent)).toEqual(new Set(endpoints.slice(2, 10)))
  })

  it.each([
    ['a failure', FAILURE],
    ['a refusal', outcome('refused', 'connect-failed')],
    ['an overload', outcome('failure', 'overloaded', undefined, 503)],
    ['what was cancelled', outcome('cancelled', 'cancelled')],
  ])('does not go back for %s', (_, end) => {
    const { endpoints, answer, acquaint, pick, shares } = setUp(50)
    acquaint(20)
    introduce(endpoints, pick)
    answer(endpoints[7]!, 1, end)
    expect(shares(500)[7]).toBeLessThan(0.1)
  })

  it('goes elsewhere when it is loaded, stalled, or slow', () => {
    const { clock, endpoints, answer, acquaint, pick, shares } = setUp(50)
    acquaint(20)
    introduce(endpoints, pick)
    answer(endpoints[7]!, 400)
    answer(endpoints[8]!, 20)
    endpoints[8]!.pending = 5
    answer(endpoints[9]!, 20)
    const stalled = new Attempt(callAt(clock))
    stalled.startedAt = clock.now() - 300
    endpoints[9]!.pending = 1
    endpoints[9]!.oldest = stalled
    const [seventh, eighth, ninth] = shares(500).slice(7)
    expect(Math.max(seventh!, eighth!, ninth!)).toBeLessThan(0.03)
  })

  it('never prefers an ejected endpoint, nor one that this call has tried', () => {
    const { clock, endpoints, answer, acquaint, picker, pick, shares } = setUp(50)
    acquaint(20)
    introduce(endpoints, pick)
    answer(endpoints[7]!, 1)
    const call = callAt(clock)
    call.tried = [endpoints[7]!]
    for (let i = 0; i < 200; i++) expect(picker.pick(call)).not.toBe(endpoints[7])
    endpoints[7]!.state = 'ejected'
    expect(shares(500)[7]).toBe(0)
  })

  it('forgets an endpoint that is gone, whatever has its place in the list', () => {
    const { endpoints, balancer, answer, acquaint, pick } = setUp(50)
    acquaint(20)
    introduce(endpoints, pick)
    answer(endpoints[7]!, 1)
    const without = balancer.picker(endpoints.filter((_, i) => i !== 7))
    for (let i = 0; i < 200; i++) expect(pick(without)).not.toBe(endpoints[7])
    endpoints[7]!.withdrawn = true
    const before = Array.from({ length: 500 }, () => pick())
    expect(before.filter((each) => each === endpoints[7]).length).toBeLessThan(50)
  })

  it('keeps the pickers of two zones apart, and goes on over a change of the endpoints', () => {
    const { endpoints, balancer, answer, acquaint, pick } = setUp(50)
    acquaint(20)
    const here = balancer.picker(endpoints.slice(0, 25))
    const there = balancer.picker(endpoints.slice(25))
    introduce(endpoints.slice(0, 25), () => pick(here))
    introduce(endpoints.slice(25), () => pick(there))
    answer(endpoints[7]!, 1)
    answer(endpoints[32]!, 1)
    for (let i = 0; i < 100; i++) expect(endpoints.indexOf(pick(here))).toBeLessThan(25)
    for (let i = 0; i < 100; i++) expect(endpoints.indexOf(pick(there))).toBeGreaterThanOrEqual(25)
    const grown = balancer.picker([...endpoints.slice(0, 25), endpoint('new')])
    const again = Array.from({ length: 100 }, () => pick(grown))
    expect(again.filter((each) => each === endpoints[7]).length).toBeGreaterThan(90)
  })

  it('looks at ten of 10,000 endpoints at most', () => {
    const { clock, balancer, endpoints } = setUp(10_000)
    const picker = balancer.picker(endpoints)
    for (const each of endpoints.slice(0, 20)) {
      const attempt = new Attempt(callAt(clock))
      attempt.endpoint = each
      attempt.startedAt = clock.now() - 5
      balancer.settle(attempt, SUCCESS)
    }
    picker.pick(callAt(clock))
    let looks = 0
    for (const each of endpoints) {
      Object.defineProperty(each, 'pending', {
        get: () => {
          looks += 1
          return 0
        },
      })
    }
    for (let i = 0; i < 100; i++) picker.pick(callAt(clock))
    expect(looks).toBeLessThanOrEqual(1_000)
  })
})

describe('least-load: beside the rest', () => {
  /** Calls of 10 ms, one after the other, so that every call has an answer to use. */
  function traffic(subject: ReturnType<typeof setUp>, calls: number, ms = 10): number[] {
    const { clock, endpoints, answer, send } = subject
    const counts = endpoints.map(() => 0)
    for (let i = 0; i < calls; i++) {
      const at = send()
      counts[endpoints.indexOf(at)]! += 1
      clock.advance(ms)
      answer(at, ms)
    }
    return counts.map((count) => count / calls)
  }

  it('honours weights in traffic of one call after the other', () => {
    const [first, second, third] = traffic(setUp(3, [1, 2, 5]), 8_000)
    expect(first).toBeGreaterThan(0.08)
    expect(first).toBeLessThan(0.25)
    expect(second).toBeGreaterThan(first!)
    expect(third).toBeGreaterThan(0.45)
  })

  it('leaves no equal endpoint out', () => {
    for (const share of traffic(setUp(10), 5_000)) expect(share).toBeGreaterThan(0.005)
  })

  it('gives an endpoint that warms up its part, however well it answers', () => {
    const subject = setUp(10)
    traffic(subject, 500)
    const [first] = subject.endpoints
    first!.discoveredAt = subject.clock.now()
    first!.warmAt = subject.clock.now() + 1e6
    const picker = subject.balancer.picker(subject.endpoints)
    let toFirst = 0
    for (let i = 0; i < 4_000; i++) {
      const at = subject.send(picker)
      if (at === first) toFirst += 1
      subject.clock.advance(1)
      subject.answer(at, at === first ? 5 : 10)
    }
    expect(toFirst / 4_000).toBeGreaterThan(0)
    expect(toFirst / 4_000).toBeLessThan(0.06)
  })

  it('finds a new endpoint soon, and asks it once until it has answered', () => {
    const subject = setUp(20)
    subject.endpoints.pop()
    traffic(subject, 2_000)
    const fresh = endpoint('new')
    subject.endpoints.push(fresh)
    const picker = subject.balancer.picker(subject.endpoints)
    let asked = 0
    let first = 0
    for (let i = 0; i < 1_000; i++) {
      const at = subject.send(picker)
      if (at === fresh) {
        asked += 1
        first ||= i
        const attempt = new Attempt(callAt(subject.clock))
        attempt.startedAt = subject.clock.now()
        fresh.pending += 1
        fresh.oldest = attempt
      } else subject.answer(at, 10)
    }
    expect(asked).toBe(1)
    expect(first).toBeLessThan(600)
  })

  it('learns nothing from streams, which are load all the same', () => {
    const { clock, balancer, endpoints, acquaint, pick, shares } = setUp(3)
    acquaint(20)
    introduce(endpoints, pick)
    const stream = new Attempt(callAt(clock, 1e6, { ...KIND, streaming: true }))
    stream.endpoint = endpoints[0]!
    stream.startedAt = clock.now() - 1
    stream.openEnded = true
    stream.report = { inFlight: 0, latencyMs: 0.1, servedMs: 0.1 }
    balancer.settle(stream, SUCCESS)
    endpoints[0]!.pending = 1
    expect(shares(600)[0]).toBeLessThan(0.03)
  })
})

describe('least-load: what servers report', () => {
  const idle: LoadReport = { inFlight: 0, latencyMs: 20, servedMs: 20 }
  const busy: LoadReport = { inFlight: 12, latencyMs: 20, servedMs: 20 }

  function reported(reports: readonly LoadReport[], ms = 20) {
    const subject = setUp(reports.length)
    const report = (): void => {
      for (let i = 0; i < 20; i++)
        for (const [k, each] of subject.endpoints.entries()) subject.answer(each, ms, SUCCESS, reports[k])
      // Used up: what is left is what is known.
      for (const each of subject.endpoints) {
        const attempt = new Attempt(callAt(subject.clock))
        attempt.endpoint = each
        subject.balancer.admit(attempt)
      }
    }
    report()
    return { ...subject, report }
  }

  it('goes where servers have fewer requests in flight, of other callers too', () => {
    expect(reported([busy, idle, idle, idle]).shares(400)[0]).toBe(0)
  })

  it('goes where requests are quick', () => {
    const { shares } = reported([{ ...idle, latencyMs: 40 }, idle, { ...idle, latencyMs: 40 }, idle])
    expect(shares(400)[0]).toBeLessThan(0.2)
  })

  it('counts the time between us and the server', () => {
    const subject = setUp(4)
    for (let i = 0; i < 20; i++)
      for (const [k, each] of subject.endpoints.entries()) subject.answer(each, k === 0 ? 60 : 20, SUCCESS, idle)
    subject.clock.advance(1_001)
    expect(subject.shares(400)[0]).toBeLessThan(0.02)
  })

  it('forgets a report within seconds', () => {
    const { clock, endpoints, answer, shares } = reported([busy, idle, idle, idle, idle, idle])
    clock.advance(8_000)
    for (const [i, each] of endpoints.slice(1).entries()) {
      answer(each, 20, SUCCESS, { ...idle, inFlight: i % 2 === 0 ? 1 : 8 })
    }
    clock.advance(1_001)
    expect(shares(1_000)[0]).toBeGreaterThan(0.1)
  })

  it('takes a failure for the end of a good report', () => {
    const { clock, endpoints, answer, shares } = reported([idle, idle, idle, idle])
    expect(shares(400)[0]).toBeGreaterThan(0.1)
    clock.advance(100)
    answer(endpoints[0]!, 1, FAILURE)
    expect(shares(400)[0]).toBeLessThan(0.02)
  })

  it('does not believe in more than twice the speed that it measures', () => {
    const liar: LoadReport = { inFlight: 0, latencyMs: 0.001, servedMs: 300 }
    const subject = setUp(4)
    for (let i = 0; i < 20; i++)
      for (const [k, each] of subject.endpoints.entries())
        subject.answer(each, k === 0 ? 300 : 20, SUCCESS, k === 0 ? liar : idle)
    subject.clock.advance(1_001)
    expect(subject.shares(400)[0]).toBeLessThan(0.02)
  })

  it('does not believe in less than half of what is usually in flight', () => {
    const usual: LoadReport = { inFlight: 6, latencyMs: 20, servedMs: 20 }
    const liar: LoadReport = { inFlight: 0, latencyMs: 0.001, servedMs: 300 }
    const shareAt = (liarMs: number): number => {
      const subject = setUp(10)
      for (let i = 0; i < 20; i++)
        for (const [k, each] of subject.endpoints.entries())
          subject.answer(each, k === 0 ? liarMs : 20, SUCCESS, k === 0 ? liar : usual)
      subject.clock.advance(200)
      return subject.shares(2_000)[0]!
    }
    // It takes calls until it is four times as slow as usual.
    expect(shareAt(40)).toBeGreaterThan(0.15)
    expect(shareAt(100)).toBeLessThan(0.05)
  })

  it.each([
    { ...idle, inFlight: Number.NaN },
    { ...idle, inFlight: -5 },
    { ...idle, latencyMs: Number.NaN },
    { ...idle, latencyMs: 0 },
    { ...idle, latencyMs: -20 },
    { ...idle, latencyMs: Number.POSITIVE_INFINITY },
    { ...idle, servedMs: Number.NEGATIVE_INFINITY },
  ])('goes by what it measures if a report makes no sense: %o', (nonsense) => {
    const { endpoints, shares } = reported([nonsense, nonsense, nonsense])
    for (const each of endpoints) expect(each.load).toBeUndefined()
    for (const share of shares(900)) expect(share).toBeGreaterThan(0.2)
  })

  it('does not flood servers that do not report, beside others that do', () => {
    const subject = setUp(10)
    const loaded = { inFlight: 4, latencyMs: 20, servedMs: 20 }
    for (let i = 0; i < 20; i++)
      for (const [k, each] of subject.endpoints.entries()) {
        // In flight there: unknown. Twice as slow, they have not less load.
        if (k < 5) subject.answer(each, 20, SUCCESS, loaded)
        else subject.answer(each, 40)
      }
    subject.clock.advance(1_001)
    const silent = subject.shares(2_000).slice(5)
    expect(silent.reduce((a, b) => a + b, 0)).toBeLessThan(0.3)
  })
})
