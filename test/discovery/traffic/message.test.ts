import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SnapshotRejected } from '../../../src/discovery/read-field.ts'
import { readTraffic, TRAFFIC_LIMITS, type TrafficMessage } from '../../../src/discovery/traffic/message.ts'

const MESSAGE: TrafficMessage = {
  type: 'traffic',
  sequence: 17,
  forMs: 5_003,
  left: 2,
  series: [
    {
      to: 'inventory',
      via: 'stock',
      protocol: 'http',
      method: 'GET',
      route: 'items',
      version: 'v2',
      zone: 'a',
      tls: true,
      calls: 120,
      codes: { timeout: 2 },
      retries: 3,
      hedges: 1,
      mirrored: 4,
      ms: '1c:3,1,4:a',
    },
    { to: 'inventory', protocol: 'http', method: 'GET', route: 'items', inFlight: 4 },
    { side: 'server', from: 'outside', protocol: 'grpc', method: '/shop.Inventory/Get', calls: 1 },
    { to: 'other', calls: 2 },
  ],
  marks: [
    {
      at: -1_200,
      to: 'inventory',
      what: 'circuit',
      from: 'closed',
      now: 'half-open',
      protocol: 'grpc',
      route: 'items',
    },
    { at: 0, to: 'inventory', what: 'ejected', endpoint: '[::1]:8080', reason: 'consecutive-failures' },
  ],
  marksLeft: 1,
}

// biome-ignore lint/suspicious/noExplicitAny: anything may arrive
type Received = Record<string, any>

/** The message as it arrives, with `change` made to it. */
function received(change: (message: Received) => unknown = () => undefined): Record<string, unknown> {
  const message = JSON.parse(JSON.stringify(MESSAGE))
  change(message)
  return message
}

describe('readTraffic', () => {
  it('reads what a process sends', () => {
    expect(readTraffic(received())).toEqual(MESSAGE)
    expect(readTraffic({ sequence: 1, forMs: 0, series: [] })).toEqual({
      type: 'traffic',
      sequence: 1,
      forMs: 0,
      series: [],
    })
  })

  it('drops keys that it does not know, at every level', () => {
    const message = received((m) => {
      m.service = 'billing'
      m.series[0].caller = 'billing'
      m.marks[0].process = 'another'
    })
    expect(readTraffic(message)).toEqual(MESSAGE)
  })

  it('never takes a name of a code for the prototype', () => {
    const message = JSON.parse(
      '{"sequence":1,"forMs":1,"series":[{"to":"a","protocol":"http","calls":9,"codes":{"__proto__":1}}]}',
    )
    expect(() => readTraffic(message)).toThrow(SnapshotRejected)
    const named = JSON.parse(
      '{"sequence":1,"forMs":1,"series":[{"to":"a","protocol":"http","calls":9,"codes":{"constructor":1}}]}',
    )
    expect(Object.entries(readTraffic(named).series[0]!.codes!)).toEqual([['constructor', 1]])
  })

  it.each<[string, (message: Received) => unknown]>([
    ['sequence', (m) => (m.sequence = 0)],
    ['sequence', (m) => delete m.sequence],
    ['forMs', (m) => (m.forMs = -1)],
    ['forMs', (m) => (m.forMs = TRAFFIC_LIMITS.forMs + 1)],
    ['left', (m) => (m.left = '2')],
    ['left', (m) => (m.left = null)],
    ['series', (m) => (m.series = {})],
    ['series', (m) => (m.series = new Array(502).fill({ to: 'a', protocol: 'http' }))],
    ['series[0]', (m) => (m.series[0] = [])],
    ['series[0]: to', (m) => (m.series[0].to = 'Not A Service')],
    ['series[0]: via', (m) => (m.series[0].via = '')],
    ['series[0]: protocol', (m) => delete m.series[0].protocol],
    ['series[0]: side', (m) => (m.series[0].side = 'client')],
    ['series[2]: from', (m) => (m.series[2].from = 'inventory')],
    ['series[2]: protocol', (m) => delete m.series[2].protocol],
    ['series[0]: method', (m) => (m.series[0].method = 'G'.repeat(129))],
    ['series[0]: method', (m) => (m.series[0].method = 'GET\n')],
    ['series[0]: route', (m) => (m.series[0].route = 'a\u202eb')],
    ['series[0]: zone', (m) => (m.series[0].zone = 5)],
    ['series[0]: version', (m) => (m.series[0].version = '\ud800')],
    ['series[0]: calls', (m) => (m.series[0].calls = 1.5)],
    ['series[0]: calls', (m) => (m.series[0].calls = 2 ** 41)],
    ['series[0]: retries', (m) => (m.series[0].retries = -1)],
    ['series[1]: inFlight', (m) => (m.series[1].inFlight = 1e300)],
    ['series[0]: codes', (m) => (m.series[0].codes = ['timeout'])],
    ['series[0]: codes', (m) => (m.series[0].codes = { 'a b': 1 })],
    ['series[0]: codes: more failures than calls', (m) => (m.series[0].codes = { timeout: 121 })],
    [
      'series[0]: codes',
      (m) => (m.series[0].codes = Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`c${i}`, 1]))),
    ],
    ['series[0]: ms', (m) => (m.series[0].ms = '1:1')],
    ['series[0]: ms', (m) => (m.series[0].ms = 7)],
    ['series[0]: ms: more latencies than calls', (m) => (m.series[0].ms = '1c:zz')],
    ['marks', (m) => (m.marks = new Array(51).fill(m.marks[0]))],
    ['marks[0]: at', (m) => (m.marks[0].at = 1)],
    ['marks[0]: at', (m) => (m.marks[0].at = -3_600_001)],
    ['marks[0]: what', (m) => delete m.marks[0].what],
    ['marks[1]: endpoint', (m) => (m.marks[1].endpoint = 'x'.repeat(129))],
    ['marksLeft', (m) => (m.marksLeft = Number.NaN)],
  ])('refuses a wrong %s by name', (name, change) => {
    const reading = () => readTraffic(received(change))
    expect(reading).toThrow(SnapshotRejected)
    expect(reading).toThrow(name)
  })

  it('refuses or reads whatever arrives, and reads what it has read the same', () => {
    const anything = fc.anything({ maxDepth: 3, withNullPrototype: true })
    const field = fc.constantFrom(...Object.keys(MESSAGE), ...MESSAGE.series.flatMap(Object.keys), 'at', 'what')
    const spoilt = fc.tuple(field, fc.oneof(anything, fc.integer(), fc.string())).map(([key, value]) =>
      received((m) => {
        if (key in m) m[key] = value
        for (const series of Array.isArray(m.series) ? m.series : []) if (key in Object(series)) series[key] = value
        for (const mark of Array.isArray(m.marks) ? m.marks : []) if (key in Object(mark)) mark[key] = value
      }),
    )
    fc.assert(
      fc.property(fc.oneof(spoilt, fc.dictionary(field, anything)), (message) => {
        let read: TrafficMessage
        try {
          read = readTraffic(message)
        } catch (error) {
          expect(error).toBeInstanceOf(SnapshotRejected)
          return
        }
        expect(readTraffic({ ...read })).toEqual(read)
      }),
      { numRuns: 2_000 },
    )
  })
})
