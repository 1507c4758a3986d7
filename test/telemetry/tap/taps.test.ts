/** Taps inside a process: what matches, and bounds of what waits. */
import { beforeEach, describe, expect, test } from 'vitest'
import { Call } from '../../../src/core/call.ts'
import { outcome, SUCCESS } from '../../../src/core/outcome.ts'
import { Events } from '../../../src/telemetry/events.ts'
import { statusMatches } from '../../../src/telemetry/tap/status-match.ts'
import { TAP_LIMITS, type TapMessage, type TappedMessage } from '../../../src/telemetry/tap/tap-message.ts'
import { Taps } from '../../../src/telemetry/tap/taps.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

let clock: FakeClock
let taps: Taps
let events: Events
let sent: TappedMessage[]
let session: { isReady: boolean; send(message: TappedMessage): void }

beforeEach(() => {
  clock = new FakeClock()
  events = new Events('checkout', clock)
  taps = new Taps('checkout', clock, events)
  sent = []
  session = { isReady: true, send: (message) => sent.push(message) }
})

function begin(more: Partial<TapMessage> = {}): void {
  const asked = { type: 'tap', tap: 't1', service: 'inventory', headers: [], perSecond: 100, forMs: 60_000 } as const
  taps.begin({ ...asked, ...more }, () => true, session)
}

function end(service = 'inventory', side: 'client' | 'server' = 'client'): void {
  const kind = { service, method: 'GET', protocol: 'http', streaming: false, idempotent: true } as const
  taps.callEnded(side, new Call(kind, clock.now(), Number.POSITIVE_INFINITY, undefined), SUCCESS, clock.now())
}

const shown = (): number => sent.reduce((all, { calls }) => all + calls.length, 0)
const left = (): number => sent.reduce((all, message) => all + (message.left ?? 0), 0)

describe('a process', () => {
  test('has nothing to look at while there is no tap, and again after its end', () => {
    expect(taps.open).toBe(undefined)
    begin()
    expect(taps.open).toHaveLength(1)
    taps.end('unknown')
    taps.end('t1')
    expect(taps.open).toBe(undefined)
    expect(clock.timers).toBe(0)
  })

  test('ends a tap by itself when its time is over, and all when the session is lost', () => {
    begin({ forMs: 1_000 })
    begin({ tap: 't2' })
    clock.advance(1_001)
    expect(taps.open).toHaveLength(1)
    end()
    taps.endAll()
    expect(taps.open).toBe(undefined)
    expect(clock.timers).toBe(0)
  })

  test('sends batches, and no calls to other services or of other callers', () => {
    begin()
    begin({ tap: 't2', from: 'cart' })
    for (let i = 0; i < 60; i++) end()
    end('other')
    expect(sent).toEqual([])
    clock.advance(250)
    expect(sent.map(({ tap, calls }) => [tap, calls.length])).toEqual([
      ['t1', 50],
      ['t1', 10],
    ])
    expect(sent[0]!.calls[0]).toMatchObject({ to: 'inventory', method: 'GET', protocol: 'http', ms: 0 })
  })

  test('refuses a tap beyond the limit in so many words, and takes it when another has ended', () => {
    for (let i = 0; i < TAP_LIMITS.taps; i++) begin({ tap: `t${i}` })
    begin({ tap: 'more' })
    expect(sent).toEqual([{ type: 'tapped', tap: 'more', calls: [], refused: true }])
    expect(taps.open).toHaveLength(TAP_LIMITS.taps)
    taps.end('t0')
    begin({ tap: 'more' })
    expect([sent.length, taps.open!.at(-1)!.id]).toEqual([1, 'more'])
    taps.endAll()
  })

  test('samples by its rate and counts what it leaves out', () => {
    begin({ perSecond: 5 })
    for (let second = 0; second < 4; second++) {
      for (let i = 0; i < 100; i++) end()
      clock.advance(1_000)
    }
    expect(shown()).toBe(20)
    expect(left()).toBe(380)
  })

  test('holds a bounded number of calls while its session takes none, and sends them later', () => {
    begin()
    session.isReady = false
    for (let second = 0; second < 10; second++) {
      for (let i = 0; i < 100; i++) end()
      clock.advance(1_000)
    }
    expect(sent).toEqual([])
    session.isReady = true
    clock.advance(250)
    expect(shown()).toBe(TAP_LIMITS.waiting)
    expect(left()).toBe(1_000 - TAP_LIMITS.waiting)
  })

  test('says by events that it is watched, by whom and with what, and how much was shown', () => {
    begin({ by: 'operator:ann', path: '/items/*', statuses: ['5xx'], headers: ['x-tenant'] })
    begin({ tap: 't2', perSecond: 3 })
    for (let i = 0; i < 10; i++) end()
    clock.advance(250)
    for (let i = 0; i < 2; i++) end()
    session.isReady = false
    taps.endAll()
    taps.endAll()
    const filter = 'any caller, path /items/*, status 5xx, headers x-tenant'
    expect(events.recent().map(({ name, payload }) => [name, payload])).toEqual([
      ['tap:began', { tap: 't1', peer: 'inventory', by: 'operator:ann', filter, forMs: 60_000 }],
      ['tap:began', { tap: 't2', peer: 'inventory', filter: 'any caller', forMs: 60_000 }],
      ['tap:ended', { tap: 't1', peer: 'inventory', by: 'operator:ann', shown: 0, left: 0 }],
      ['tap:ended', { tap: 't2', peer: 'inventory', shown: 3, left: 9 }],
    ])
  })

  test('serves a bounded number of taps', () => {
    for (let i = 0; i < 20; i++) begin({ tap: `t${i}` })
    expect(taps.open).toHaveLength(TAP_LIMITS.taps)
    begin({ tap: 't1' })
    expect(taps.open).toHaveLength(TAP_LIMITS.taps)
  })

  test('shows served calls only of callers outside, which nobody else counts', () => {
    begin({ service: 'checkout' })
    end('checkout', 'server')
    clock.advance(250)
    expect(sent).toEqual([])
  })

  test('shows headers that were asked for, and never secret ones', () => {
    begin({ headers: ['x-tenant', 'authorization', 'x-broken'] })
    class WithHeaders extends Call {
      override header(name: string): string | undefined {
        if (name === 'x-broken') throw new Error('no text')
        return name === 'authorization' ? 'Basic abc' : 'acme\u001b[2J'
      }
    }
    const kind = { service: 'inventory', method: 'GET', protocol: 'http', streaming: false, idempotent: true } as const
    const failed = outcome('failure', 'deadline-exceeded')
    taps.callEnded('client', new WithHeaders(kind, 0, 1, undefined), failed, 5)
    clock.advance(250)
    expect(sent[0]!.calls[0]).toMatchObject({ code: 'deadline-exceeded', headers: { 'x-tenant': 'acme\\u{1b}[2J' } })
    expect(Object.keys(sent[0]!.calls[0]!.headers!)).toEqual(['x-tenant'])
  })
})

test.each([
  [undefined, 200, true],
  [['5xx'], 503, true],
  [['5xx'], 500, true],
  [['5xx'], 404, false],
  [['5xx'], undefined, false],
  [['404', '5xx'], 404, true],
  [['none'], undefined, true],
  [['none'], 200, false],
  [['14'], 14, true],
  [['4'], 404, false],
])('%j fits %s: %s', (patterns, status, fits) => {
  expect(statusMatches(patterns, status)).toBe(fits)
})
