import { describe, expect, it } from 'vitest'
import { Attempt } from '../../../src/core/attempt.ts'
import { Call, type CallKind } from '../../../src/core/call.ts'
import { Endpoint, type EndpointAddress } from '../../../src/core/endpoint.ts'
import { type Outcome, outcome, SUCCESS } from '../../../src/core/outcome.ts'
import { readTraffic } from '../../../src/discovery/traffic/message.ts'
import type { Side } from '../../../src/telemetry/call-metrics.ts'
import { createTelemetry } from '../../../src/telemetry/call-telemetry.ts'
import { Metrics } from '../../../src/telemetry/metrics.ts'
import { LatencyDigest } from '../../../src/telemetry/traffic/latency-digest.ts'
import { TrafficCounts } from '../../../src/telemetry/traffic/traffic-counts.ts'
import type { TrafficSeries } from '../../../src/telemetry/traffic/traffic-message.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

const GET: CallKind = { service: 'inventory', method: 'GET', protocol: 'http', streaming: false, idempotent: true }

let ports = 8_000
function endpoint(at: Partial<EndpointAddress> = {}, service = 'inventory'): Endpoint {
  const address = {
    id: 'i',
    address: '10.0.0.1',
    port: ports++,
    protocol: 'http',
    tls: true,
    weight: 100,
    metadata: {},
  }
  return new Endpoint(service, { ...address, zone: undefined, version: undefined, ...at } as EndpointAddress)
}

class OutsideCall extends Call {
  override get outside(): boolean {
    return true
  }
}

function setUp(side: Side = 'client') {
  const clock = new FakeClock()
  const counts = new TrafficCounts({ version: 'v7', zone: 'c' })
  const telemetry = createTelemetry({ side, service: 'checkout', metrics: new Metrics(), clock, traffic: counts })
  const start = (kind: CallKind = GET, change: Partial<Call> = {}, Made = Call): Call => {
    const call = Object.assign(new Made(kind, clock.now(), Number.POSITIVE_INFINITY, undefined), change)
    telemetry.callStarted(call)
    return call
  }
  const attempt = (call: Call, at: Endpoint | undefined, hedge = false): Attempt => {
    const made = new Attempt(call)
    made.endpoint = call.endpoint = at
    made.number = call.attempts++
    made.hedge = hedge
    telemetry.attemptStarted(made)
    return made
  }
  const end = (call: Call, ended: Outcome = SUCCESS) => telemetry.callEnded(call, ended)
  const call = (at: Endpoint | undefined, ended: Outcome = SUCCESS, kind: CallKind = GET) => {
    const made = start(kind)
    if (at !== undefined) attempt(made, at)
    end(made, ended)
  }
  /** As the registry reads it. */
  const take = () => {
    const { series, left } = counts.take()
    const read = readTraffic(JSON.parse(JSON.stringify({ sequence: 1, forMs: 1, series })))
    expect(read.series).toEqual(series)
    return { series: read.series, left }
  }
  return { clock, counts, telemetry, start, attempt, end, call, take }
}

/** One that is on, as while a registry asks. */
function asked(side: Side = 'client') {
  const rig = setUp(side)
  rig.counts.start(() => {})
  return rig
}

const names = ({ to, protocol, method }: TrafficSeries) => ({ to, protocol, method })
const EDGE = { to: 'inventory', protocol: 'http', method: 'GET' }

describe('the traffic of a client', () => {
  it('is nothing while no registry asks, and begins with the first call after it does', () => {
    const { counts, call, take } = setUp()
    call(endpoint())
    expect(take()).toEqual({ series: [], left: 0 })
    let begun = 0
    counts.start(() => (begun += 1))
    expect(begun).toBe(0)
    call(endpoint())
    call(endpoint())
    expect(begun).toBe(1)
    expect(take().series).toMatchObject([{ ...EDGE, calls: 2 }])
    expect(take().series).toEqual([])
    call(endpoint())
    expect(begun).toBe(2)
    counts.stop()
    expect(take().series).toEqual([])
    call(endpoint())
    expect(take().series).toEqual([])
  })

  it('is counted by version and zone of the endpoint that ended the call', () => {
    const { call, take } = asked()
    const [one, two, other] = [
      endpoint({ version: 'v1', zone: 'a' }),
      endpoint({ version: 'v1', zone: 'a' }),
      endpoint({ version: 'v2' }),
    ]
    for (const at of [one, two, other, one]) call(at)
    expect(take().series).toEqual([
      { ...EDGE, version: 'v1', zone: 'a', tls: true, calls: 3, ms: '0:3' },
      { ...EDGE, version: 'v2', tls: true, calls: 1, ms: '0' },
    ])
  })

  it('counts failures by code, and times only calls that an endpoint answered or failed', () => {
    const { clock, start, attempt, end, take } = asked()
    const at = endpoint()
    const run = (ended: Outcome, ms: number, kind = GET): void => {
      const call = start(kind)
      attempt(call, at)
      clock.advance(ms)
      end(call, ended)
    }
    run(SUCCESS, 10)
    run(outcome('failure', 'server-error', undefined, 500), 500)
    run(outcome('cancelled', 'cancelled'), 0)
    run(SUCCESS, 60_000, { ...GET, streaming: true })
    end(start(), outcome('refused', 'circuit-open'))
    const [series, ...more] = take().series
    expect(more).toEqual([])
    expect(series).toMatchObject({ ...EDGE, tls: true, calls: 5 })
    expect(series!.codes).toEqual({ 'server-error': 1, cancelled: 1, 'circuit-open': 1 })
    const timed = LatencyDigest.decode(series!.ms!)
    expect(timed.count).toBe(2)
    expect(timed.quantile(1)! / 500).toBeCloseTo(1, 0)
  })

  it('times no answer of this process: it would make a service look fast', () => {
    const { start, end, take } = asked()
    end(start(GET, { routed: { name: 'fixed' } }))
    end(start(GET, { routed: { name: 'fixed' } }), outcome('failure', 'server-error', undefined, 500))
    expect(take().series[0]).not.toHaveProperty('ms')
  })

  it('times calls that ran out of time at an endpoint, however short the time was', () => {
    const { clock, start, attempt, end, take } = asked()
    const call = start()
    attempt(call, endpoint())
    clock.advance(50)
    end(call, outcome('cancelled', 'deadline-exceeded'))
    const [series] = take().series
    expect(series).toMatchObject({ calls: 1, codes: { 'deadline-exceeded': 1 } })
    expect(LatencyDigest.decode(series!.ms!).quantile(1)! / 50).toBeCloseTo(1, 0)
  })

  it('tells connections without mutual authentication, also among others', () => {
    const { call, take } = asked()
    call(endpoint())
    call(endpoint({ tls: false }))
    call(endpoint({ tls: false, version: 'v2' }))
    call(endpoint({ version: 'v3' }))
    call(undefined, outcome('refused', 'no-endpoints'), { ...GET, method: 'PUT' })
    expect(take().series.map(({ tls }) => tls)).toEqual([false, false, true, undefined])
  })

  it('counts retries and hedges where they went', () => {
    const { start, attempt, end, take } = asked()
    const call = start()
    attempt(call, endpoint({ version: 'v1' }))
    attempt(call, endpoint({ version: 'v2' }))
    attempt(call, endpoint({ version: 'v2' }), true)
    end(call)
    const series = take().series.filter(({ version }) => version !== undefined)
    expect(series).toEqual([{ ...EDGE, version: 'v2', tls: true, calls: 1, retries: 1, hedges: 1, ms: '0' }])
  })

  it('names the service that answered, the one that was called, and the route', () => {
    const { start, attempt, end, take } = asked()
    const call = start(GET, { routed: { name: 'items' } })
    attempt(call, endpoint({}, 'stock'))
    end(call)
    expect(take().series).toContainEqual({
      ...EDGE,
      to: 'stock',
      via: 'inventory',
      route: 'items',
      tls: true,
      calls: 1,
      ms: '0',
    })
  })

  it('counts copies apart from calls', () => {
    const { start, telemetry, take } = asked()
    const of = start()
    const mirror = new Attempt(of)
    mirror.endpoint = endpoint({ version: 'next' }, 'shadow')
    telemetry.mirrors!.mirrorStarted({ peer: 'shadow', route: 'items' }, mirror, of)
    telemetry.mirrors!.mirrorEnded({ peer: 'shadow', route: 'items' }, mirror, SUCCESS)
    // With the names of its call, so that the route has both.
    expect(take().series).toContainEqual({
      ...EDGE,
      to: 'shadow',
      via: 'inventory',
      route: 'items',
      version: 'next',
      mirrored: 1,
    })
  })

  it('reports calls in flight when they change, and again to a registry that does not know', () => {
    const { counts, start, attempt, end, take } = asked()
    const at = endpoint({ version: 'v1' })
    const calls = [start(), start()]
    for (const call of calls) attempt(call, at)
    expect(take().series).toEqual([{ ...EDGE, inFlight: 2 }])
    expect(take().series).toEqual([])
    counts.startAnew()
    expect(take().series).toEqual([{ ...EDGE, inFlight: 2 }])
    end(calls[0]!)
    expect(take().series).toMatchObject([
      { version: 'v1', calls: 1 },
      { ...EDGE, inFlight: 1 },
    ])
    end(calls[1]!)
    const last = take().series
    expect(last).toHaveLength(2)
    expect(last[1]).toEqual({ ...EDGE, inFlight: 0 })
    counts.startAnew()
    expect(take().series).toEqual([])
  })

  it('moves a call in flight to the route that it gets later', () => {
    const { start, telemetry, take } = asked()
    const call = start()
    expect(take().series).toEqual([{ ...EDGE, inFlight: 1 }])
    Object.assign(call, { kind: { ...GET }, routed: { name: 'items' } })
    telemetry.callRouted!(call)
    expect(take().series).toEqual([
      { ...EDGE, inFlight: 0 },
      { ...EDGE, route: 'items', inFlight: 1 },
    ])
  })

  it('counts all beyond 500 series as other, without losing a call', () => {
    const { call, take } = asked()
    for (let i = 0; i < 700; i++) call(endpoint({ version: `v${i}` }))
    for (let i = 0; i < 700; i++) call(endpoint({ version: `v${i}` }))
    const { series, left } = take()
    expect(series).toHaveLength(501)
    expect(series[500]).toMatchObject({ to: 'other', calls: left })
    expect(series[500]).not.toHaveProperty('protocol')
    expect(series.reduce((sum, { calls = 0 }) => sum + calls, 0)).toBe(1_400)
    expect(left).toBe(400)
    // The next report has room again.
    call(endpoint({ version: 'v699' }))
    expect(take()).toMatchObject({ series: [{ version: 'v699', calls: 1 }], left: 0 })
  })

  it('makes up for calls in flight that had no room', () => {
    const { start, end, call, take } = asked()
    const late = start({ ...GET, service: 'late' })
    expect(take().series).toMatchObject([{ to: 'late', inFlight: 1 }])
    for (let i = 0; i < 600; i++) call(endpoint({ version: `v${i}` }))
    end(late, outcome('failure', 'connection-lost'))
    take()
    expect(take().series).toEqual([{ to: 'late', protocol: 'http', method: 'GET', inFlight: 0 }])
  })

  it('has at most 32 codes a series', () => {
    const { call, take } = asked()
    for (let i = 0; i < 100; i++) call(endpoint(), outcome('failure', `code-${i}` as 'connection-lost'))
    const { codes } = take().series[0]!
    expect(Object.keys(codes!)).toHaveLength(32)
    expect(codes!.other).toBe(69)
  })

  it('shortens names, and replaces what cannot be printed', () => {
    const { call, take } = asked()
    call(endpoint({ version: `v\n${'x'.repeat(200)}` }))
    expect(take().series[0]!.version).toBe(`v?${'x'.repeat(126)}`)
  })
})

describe('the traffic of a server', () => {
  it('is that of callers outside the mesh, with its version and zone', () => {
    const { start, end, take } = asked('server')
    end(start(GET, { peer: 'storefront' }))
    end(start(GET, {}, OutsideCall))
    end(start(GET, {}, OutsideCall), outcome('failure', 'server-error', undefined, 500))
    expect(take().series.map(names)).toEqual([{ to: undefined, protocol: 'http', method: 'GET' }])
    end(start(GET, {}, OutsideCall))
    expect(take().series).toEqual([
      { side: 'server', from: 'outside', protocol: 'http', method: 'GET', version: 'v7', zone: 'c', calls: 1, ms: '0' },
    ])
  })
})
