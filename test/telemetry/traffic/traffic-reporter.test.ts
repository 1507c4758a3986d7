import { describe, expect, it } from 'vitest'
import { Call } from '../../../src/core/call.ts'
import { SUCCESS } from '../../../src/core/outcome.ts'
import { readTraffic } from '../../../src/discovery/traffic/message.ts'
import { NO_EVENTS } from '../../../src/telemetry/events.ts'
import { CallTally } from '../../../src/telemetry/traffic/call-tally.ts'
import { TrafficCounts } from '../../../src/telemetry/traffic/traffic-counts.ts'
import { TrafficMarks } from '../../../src/telemetry/traffic/traffic-marks.ts'
import {
  TRAFFIC_LIMITS,
  type TrafficMark,
  type TrafficMessage,
} from '../../../src/telemetry/traffic/traffic-message.ts'
import { TrafficReporter } from '../../../src/telemetry/traffic/traffic-reporter.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

const KIND = { service: 'inventory', method: 'GET', protocol: 'http', streaming: false, idempotent: true } as const

function setUp() {
  const clock = new FakeClock()
  const counts = new TrafficCounts()
  const session = {
    isReady: true,
    sent: [] as TrafficMessage[],
    send(message: TrafficMessage) {
      const text = JSON.stringify(message)
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(TRAFFIC_LIMITS.messageBytes)
      this.sent.push(readTraffic(JSON.parse(text)))
    },
  }
  const present: Omit<TrafficMark, 'at'>[] = []
  const reporter = new TrafficReporter({ counts, clock, session, present: () => present })
  const tally = new CallTally(counts, { to: 'inventory', protocol: 'http', method: 'GET' })
  /** As telemetry does. */
  const count = (of = tally): void => {
    if (counts.on) of.ended(new Call(KIND, 0, 1, undefined), SUCCESS, 1)
  }
  const calls = () => session.sent.splice(0).map(({ series }) => series.reduce((sum, { calls = 0 }) => sum + calls, 0))
  return { clock, counts, session, reporter, present, count, calls }
}

describe('TrafficReporter', () => {
  it('counts and sends nothing, and has no timer, until a registry asks', () => {
    const { clock, session, reporter, count } = setUp()
    count()
    reporter.greeted(undefined)
    count()
    expect(clock.timers).toBe(0)
    reporter.greeted(5_000)
    clock.advance(60_000)
    expect([session.sent, clock.timers]).toEqual([[], 0])
  })

  it('reports at the interval asked for, and has no timer while nothing was counted', () => {
    const { clock, session, reporter, count, calls } = setUp()
    reporter.greeted(5_000)
    clock.advance(20_000)
    count()
    expect(clock.timers).toBe(1)
    clock.advance(4_999)
    expect(session.sent).toEqual([])
    clock.advance(1)
    expect(session.sent).toEqual([
      {
        type: 'traffic',
        sequence: 1,
        forMs: 5_000,
        series: [{ to: 'inventory', protocol: 'http', method: 'GET', calls: 1 }],
      },
    ])
    expect(clock.timers).toBe(0)
    expect(calls()).toEqual([1])
    clock.advance(60_000)
    expect([session.sent, clock.timers]).toEqual([[], 0])
  })

  it('covers time without gaps while calls go on', () => {
    const { clock, session, reporter, count } = setUp()
    reporter.greeted(5_000)
    clock.advance(10_000)
    for (let i = 0; i < 30; i++) {
      count()
      clock.advance(1_000)
    }
    expect(session.sent.map(({ sequence, forMs }) => [sequence, forMs])).toEqual(
      [1, 2, 3, 4, 5, 6].map((n) => [n, 5_000]),
    )
  })

  it('keeps what the stream does not take, and says how long it was counted', () => {
    const { clock, session, reporter, count, calls } = setUp()
    reporter.greeted(5_000)
    count()
    session.isReady = false
    clock.advance(12_000)
    count()
    session.isReady = true
    clock.advance(3_000)
    expect(session.sent.map(({ forMs }) => forMs)).toEqual([15_000])
    expect(calls()).toEqual([2])
  })

  it('drops what it could not report for a minute', () => {
    const { clock, session, reporter, count, calls } = setUp()
    reporter.greeted(5_000)
    session.isReady = false
    count()
    clock.advance(70_000)
    expect(clock.timers).toBe(0)
    session.isReady = true
    reporter.greeted(5_000)
    clock.advance(10_000)
    expect(session.sent).toEqual([])
    count()
    clock.advance(5_000)
    expect(session.sent[0]).toMatchObject({ sequence: 1, forMs: 5_000 })
    expect(calls()).toEqual([1])
  })

  it('begins a new session with the first number and what the last one did not get', () => {
    const { clock, session, reporter, count, calls } = setUp()
    reporter.greeted(5_000)
    for (let i = 0; i < 10; i++) {
      count()
      clock.advance(1_000)
    }
    session.isReady = false
    count()
    clock.advance(20_000)
    session.isReady = true
    reporter.greeted(2_000)
    count()
    clock.advance(5_000)
    expect(session.sent.map(({ sequence }) => sequence)).toEqual([1, 2, 1])
    expect(calls()).toEqual([5, 5, 2])
  })

  it('forgets all when the next registry does not ask', () => {
    const { clock, session, reporter, counts, count } = setUp()
    reporter.greeted(5_000)
    count()
    reporter.greeted(undefined)
    expect([clock.timers, counts.on]).toEqual([0, false])
    reporter.greeted(5_000)
    clock.advance(10_000)
    expect(session.sent).toEqual([])
  })

  it('reports what is left when it closes, at once, and nothing afterwards', () => {
    const { clock, session, reporter, count, calls } = setUp()
    reporter.greeted(5_000)
    count()
    reporter.close()
    expect(calls()).toEqual([1])
    count()
    reporter.greeted(5_000)
    clock.advance(60_000)
    expect([session.sent, clock.timers]).toEqual([[], 0])
  })

  it('divides what is too long for one message, with consecutive numbers and the same time', () => {
    const { clock, session, reporter, counts, count, calls } = setUp()
    reporter.greeted(5_000)
    for (let i = 0; i < 500; i++) {
      const long = '語'.repeat(124)
      count(
        new CallTally(counts, {
          to: 'inventory',
          protocol: 'http',
          method: long,
          route: `${i}${long}`.slice(0, 128),
          version: long,
        }),
      )
    }
    clock.advance(5_000)
    expect(session.sent.length).toBeGreaterThan(1)
    expect(session.sent.map(({ sequence }) => sequence)).toEqual(session.sent.map((_, i) => i + 1))
    expect(new Set(session.sent.map(({ forMs }) => forMs))).toEqual(new Set([5_000]))
    expect(calls().reduce((sum, n) => sum + n, 0)).toBe(500)
  })
})

describe('marks', () => {
  function marking() {
    const rig = setUp()
    return { ...rig, events: new TrafficMarks(rig.counts, rig.clock, NO_EVENTS) }
  }

  it('tell changes of breakers, endpoints and panic, and when they were', () => {
    const { clock, session, reporter, events } = marking()
    events.emit('circuit:transition', { peer: 'inventory', from: 'closed', to: 'open' })
    reporter.greeted(5_000)
    events.emit('circuit:transition', {
      peer: 'inventory',
      protocol: 'grpc',
      route: 'items',
      from: 'open',
      to: 'half-open',
    })
    clock.advance(2_000)
    events.emit('endpoint:ejected', {
      peer: 'inventory',
      endpoint: '10.0.0.1:80',
      reason: 'consecutive-failures',
      forMs: 5,
    })
    events.emit('endpoint:probing', { peer: 'inventory', endpoint: '10.0.0.1:80' })
    events.emit('endpoint:restored', { peer: 'inventory', endpoint: '10.0.0.1:80' })
    events.emit('cluster:panic', { peer: 'inventory', on: true, healthy: 1, endpoints: 4 })
    clock.advance(3_000)
    expect(session.sent).toMatchObject([
      {
        series: [],
        marks: [
          {
            at: -5_000,
            to: 'inventory',
            what: 'circuit',
            from: 'open',
            now: 'half-open',
            protocol: 'grpc',
            route: 'items',
          },
          { at: -3_000, to: 'inventory', what: 'ejected', endpoint: '10.0.0.1:80', reason: 'consecutive-failures' },
          { at: -3_000, to: 'inventory', what: 'restored', endpoint: '10.0.0.1:80' },
          { at: -3_000, to: 'inventory', what: 'panic', from: 'off', now: 'on' },
        ],
      },
    ])
  })

  it('beyond 50 are only counted', () => {
    const { clock, session, reporter, events } = marking()
    reporter.greeted(5_000)
    for (let i = 0; i < 75; i++) events.emit('endpoint:restored', { peer: 'inventory', endpoint: '10.0.0.1:80' })
    clock.advance(5_000)
    expect(session.sent[0]!.marks).toHaveLength(50)
    expect(session.sent[0]!.marksLeft).toBe(25)
  })

  it('tell each new session the states that hold, as old ones', () => {
    const { clock, session, reporter, present } = marking()
    present.push({ old: true, to: 'inventory', what: 'circuit', now: 'open' })
    reporter.greeted(5_000)
    clock.advance(5_000)
    expect(session.sent[0]!.marks).toEqual([{ at: -5_000, old: true, to: 'inventory', what: 'circuit', now: 'open' }])
  })
})
