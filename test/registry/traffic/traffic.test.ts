/** A registry and the reports of processes: sums that are whole, and gaps that are no zeros. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CallTally } from '../../../src/telemetry/traffic/call-tally.ts'
import { TrafficCounts } from '../../../src/telemetry/traffic/traffic-counts.ts'
import { LEASE_MS, latencies, TrafficRig } from './rig.ts'

let rig: TrafficRig

beforeEach(() => {
  rig = new TrafficRig()
})

afterEach(() => {
  expect(rig.failures).toEqual([])
  rig.traffic.close()
  expect(rig.clock.timers).toBe(0)
})

describe('an edge', () => {
  test('has the rate, the success and the percentiles of all processes of the caller together', async () => {
    const [a, b] = [rig.process('checkout', 'a'), rig.process('checkout', 'b')]
    for (let i = 0; i < 24; i++) {
      await rig.pass(5_000)
      a.calls('inventory', 100, { codes: { timeout: 10 }, ms: latencies(...Array(100).fill(10)) })
      b.calls('inventory', 300, { ms: latencies(...Array(300).fill(1)), retries: 3 })
    }
    await rig.pass(6_000)
    const edge = await rig.edge('checkout', 'inventory', 60_000)
    expect(edge).toMatchObject({ perSecond: expect.closeTo(80, 0), gap: 0, circuit: 'closed', ejected: 0 })
    expect(edge!.success).toBeCloseTo(1 - 10 / 400, 3)
    expect(edge!.codes.timeout).toBeCloseTo(120, -1)
    expect(edge!.retries).toBeCloseTo(36, -1)
    // Of 400 calls 300 took 1 ms: an average of the two p90 would be 5.5 ms.
    expect(edge!.p50).toBeCloseTo(1, 0)
    expect(edge!.p90).toBeGreaterThan(8)
    expect(edge!.p99).toBeLessThan(12)
  })

  test('that nobody used has no rate of zero where nobody could tell, and one where somebody could', async () => {
    const idle = rig.process('checkout')
    await rig.pass(30_000)
    idle.calls('inventory', 50)
    await rig.pass(90_000)
    const quiet = await rig.series('checkout', 'inventory', 60_000, 5_000)
    expect(quiet.points.every(({ perSecond, gap }) => perSecond === 0 && gap === 0)).toBe(true)
    const early = await rig.series('checkout', 'inventory', 300_000, 5_000)
    expect(early.points[0]).toMatchObject({ perSecond: null, p99: null, gap: null })
  })

  test('keeps apart who is of the mesh and who is not', async () => {
    const server = rig.process('gateway')
    await rig.pass(20_000)
    server.send([{ side: 'server', from: 'outside', protocol: 'http', method: 'GET', calls: 60 }])
    await rig.pass(12_000)
    expect(await rig.edge('outside', 'gateway', 60_000)).toMatchObject({ calls: 60, circuit: null, gap: 0 })
    expect((await rig.graph(60_000)).nodes.find(({ service }) => service === 'outside')).toMatchObject({
      outside: true,
    })
  })

  test('is mutually authenticated only if all answered calls were', async () => {
    const process = rig.process('checkout')
    await rig.pass(20_000)
    const ms = latencies(1)
    process.send([
      { to: 'a', protocol: 'http', calls: 9, version: 'v1', tls: true, ms },
      { to: 'a', protocol: 'http', calls: 1, codes: { unavailable: 1 } },
      { to: 'b', protocol: 'http', calls: 9, version: 'v1', tls: true, ms },
      { to: 'b', protocol: 'http', calls: 1, version: 'v2', tls: false, ms },
      { to: 'c', protocol: 'http', calls: 1, codes: { unavailable: 1 } },
    ])
    await rig.pass(12_000)
    const { edges } = await rig.graph(60_000)
    expect(edges.map(({ to, tls }) => [to, tls])).toEqual([
      ['a', true],
      ['b', false],
      ['c', null],
    ])
    expect(edges.map(({ versions }) => versions)).toEqual([{ v1: 1 }, { v1: 0.9, v2: 0.1 }, null])
  })

  test('does not count a call that its caller gave up as a failure', async () => {
    const process = rig.process('checkout')
    await rig.pass(20_000)
    process.calls('inventory', 10, { codes: { cancelled: 5, timeout: 1 } })
    await rig.pass(12_000)
    expect(await rig.edge('checkout', 'inventory', 60_000)).toMatchObject({ success: 1 - 1 / 5, calls: 10 })
  })
})

describe('what is not heard', () => {
  test('an idle process says nothing, and is no gap', async () => {
    rig.process('checkout')
    await rig.pass(120_000)
    expect((await rig.graph(60_000)).coverage).toMatchObject({ processes: 1, heard: 1, silent: [] })
  })

  test('a process that hangs is a gap from its last word on, and not zero', async () => {
    const [hung, other] = [rig.process('checkout', 'hung'), rig.process('checkout', 'other')]
    for (let i = 0; i < 30; i++) {
      await rig.pass(5_000)
      if (i === 10) hung.silence()
      if (i < 10) hung.calls('inventory', 100)
      other.calls('inventory', 100)
    }
    const { coverage, edges } = await rig.graph(60_000)
    expect(coverage).toMatchObject({ processes: 2, heard: 1, silent: ['checkout hung'] })
    expect(edges).toMatchObject([{ from: 'checkout', perSecond: 20, gap: 0.5 }])
    const { points } = await rig.series('checkout', 'inventory', 130_000, 5_000)
    expect(points.map(({ gap }) => gap)).toContain(0)
    expect(points.at(-1)).toMatchObject({ gap: 0.5, perSecond: 20 })
  })

  test('a service of which nothing is heard has unknown rates', async () => {
    const process = rig.process('checkout')
    await rig.pass(10_000)
    process.calls('inventory', 100)
    process.silence()
    await rig.pass(120_000)
    const { points } = await rig.series('checkout', 'inventory', 60_000, 5_000)
    expect(points.every(({ perSecond, gap, p99 }) => perSecond === null && gap === 1 && p99 === null)).toBe(true)
  })

  test('a process of an older version never reports: a gap, and named', async () => {
    rig.process('checkout', 'old', false)
    await rig.pass(90_000)
    expect((await rig.graph(60_000)).coverage).toMatchObject({
      processes: 1,
      heard: 0,
      silent: ['checkout old'],
      notReporting: 1,
    })
  })

  test('a process that dies is expected until its lease is over and its instances are gone', async () => {
    const process = rig.process('checkout')
    process.instances.add('c1')
    rig.listed.add('checkout/c1')
    await rig.pass(60_000)
    process.leave(false)
    await rig.pass(2 * LEASE_MS)
    expect((await rig.graph(5_000)).coverage).toMatchObject({ processes: 1, heard: 0 })
    rig.listed.clear()
    await rig.pass(30_000)
    expect((await rig.graph(5_000)).coverage).toMatchObject({ processes: 0, silent: [] })
    expect((await rig.graph(120_000)).coverage).toMatchObject({ processes: 1, silent: ['checkout p1'] })
  })

  test('a process that says that it leaves is no gap', async () => {
    const process = rig.process('checkout')
    await rig.pass(60_000)
    process.calls('inventory', 5)
    process.leave(true)
    await rig.pass(30_000)
    expect((await rig.graph(60_000)).coverage).toMatchObject({ processes: 1, heard: 1, silent: [] })
  })

  test('nor is the time between its last report and its end', async () => {
    const process = rig.process('checkout')
    await rig.pass(60_000)
    process.calls('inventory', 5)
    await rig.pass(1_000)
    process.leave(true)
    const idle = rig.process('checkout', 'idle')
    await rig.pass(13_000)
    idle.leave(true)
    await rig.pass(30_000)
    expect((await rig.graph(60_000)).coverage).toMatchObject({ processes: 2, heard: 2, silent: [] })
  })

  test('a lost message is a gap of its time', async () => {
    const process = rig.process('checkout')
    for (let i = 0; i < 20; i++) {
      await rig.pass(5_000)
      if (i === 15) process.sequence += 1
      else process.calls('inventory', 100)
    }
    await rig.pass(12_000)
    const edge = await rig.edge('checkout', 'inventory', 60_000)
    expect(edge!.gap).toBeGreaterThan(0.05)
    expect(edge!.gap).toBeLessThan(0.25)
  })

  test('a message with a mistake is refused whole, and a gap', async () => {
    const process = rig.process('checkout')
    await rig.pass(60_000)
    expect(() => process.calls('inventory', -1)).toThrow(/calls/)
    await rig.pass(60_000)
    expect((await rig.graph(5_000)).coverage.silent).toEqual(['checkout p1'])
    process.calls('inventory', 1)
    await rig.pass(30_000)
    expect((await rig.graph(5_000)).coverage.silent).toEqual([])
  })

  test('is nothing after another session, for as long as a process keeps what it could not send', async () => {
    const process = rig.process('checkout')
    await rig.pass(60_000)
    process.leave(false)
    await rig.pass(10_000)
    const again = rig.process('checkout')
    await rig.pass(3_000)
    again.calls('inventory', 200, {}, 13_000)
    await rig.pass(20_000)
    expect(await rig.edge('checkout', 'inventory', 60_000)).toMatchObject({ gap: 0, calls: 200 })
  })
})

describe('when calls happened', () => {
  test('a late message is no peak: its calls lie in the time that it covers', async () => {
    const process = rig.process('checkout')
    await rig.pass(120_000)
    process.calls('inventory', 600, {}, 60_000)
    await rig.pass(12_000)
    const { points } = await rig.series('checkout', 'inventory', 60_000, 5_000)
    for (const { perSecond } of points.slice(0, -3)) expect(perSecond).toBeCloseTo(10, 0)
  })

  test('messages that come at once, because somebody was held up, are laid one before the other', async () => {
    const process = rig.process('checkout')
    await rig.pass(120_000)
    for (let i = 0; i < 12; i++) process.calls('inventory', 50)
    await rig.pass(12_000)
    const { points } = await rig.series('checkout', 'inventory', 60_000, 5_000)
    for (const { perSecond } of points.slice(0, -3)) expect(perSecond).toBeCloseTo(10, 0)
    expect(points.every(({ gap }) => gap === 0)).toBe(true)
  })

  test('a process that hung for longer than its lease was there, and its late report closes the gap', async () => {
    const process = rig.process('checkout')
    for (let i = 0; i < 12; i++) {
      await rig.pass(5_000)
      process.calls('inventory', 50)
    }
    process.leave(false)
    await rig.pass(LEASE_MS + 10_000)
    const hung = await rig.graph(20_000)
    expect(hung.edges.every(({ gap }) => gap! > 0.5)).toBe(true)
    const back = rig.process('checkout')
    back.calls('inventory', 250, {}, LEASE_MS + 10_000)
    for (let i = 0; i < 3; i++) {
      await rig.pass(5_000)
      back.calls('inventory', 50)
    }
    await rig.pass(12_000)
    const { points } = await rig.series('checkout', 'inventory', 60_000, 5_000)
    expect(points.every(({ gap }) => gap === 0)).toBe(true)
    for (const { perSecond } of points.slice(0, -3)) expect(perSecond).toBeCloseTo(10, 0)
    expect((await rig.graph(60_000)).coverage.processes).toBe(1)
  })

  test('a process that hung for minutes has a gap up to what it kept', async () => {
    const process = rig.process('checkout')
    await rig.pass(5_000)
    process.calls('inventory', 50)
    process.leave(false)
    await rig.pass(180_000)
    rig.process('checkout').calls('inventory', 600, {}, 60_000)
    await rig.pass(12_000)
    const { points } = await rig.series('checkout', 'inventory', 180_000, 5_000)
    expect(points.filter(({ calls }) => calls === null).length).toBeGreaterThan(18)
    expect(points.slice(-11, -3).every(({ gap, calls }) => gap === 0 && calls! > 40)).toBe(true)
  })

  test('the parts of a large report cover the same time', async () => {
    const process = rig.process('checkout')
    const part = (first: number): object[] =>
      Array.from({ length: 150 }, (_, i) => ({ to: 'inventory', protocol: 'http', route: `r${first + i}`, calls: 10 }))
    for (let i = 0; i < 24; i++) {
      await rig.pass(5_000)
      process.send(part(0) as never)
      process.send(part(150) as never)
    }
    await rig.pass(6_000)
    const { points } = await rig.series('checkout', 'inventory', 60_000, 5_000)
    for (const { perSecond } of points) expect(perSecond).toBeCloseTo(600, -1)
  })

  test('a wall clock that jumps moves no calls', async () => {
    const process = rig.process('checkout')
    for (let i = 0; i < 24; i++) {
      await rig.pass(5_000)
      process.calls('inventory', 50)
      if (i === 12) rig.clock.jumpWall(3_600_000)
    }
    await rig.pass(6_000)
    const edge = await rig.edge('checkout', 'inventory', 60_000)
    expect(edge).toMatchObject({ perSecond: expect.closeTo(10, 0), gap: 0 })
    expect((await rig.graph(60_000)).at).toBeGreaterThan(rig.clock.wallNow() - 20_000)
  })
})

describe('members that do harm', () => {
  test('new names of series in every message fill the share of their caller, and count as other', async () => {
    const [flood, honest] = [rig.process('flood'), rig.process('checkout')]
    for (let i = 0; i < 60; i++) {
      await rig.pass(5_000)
      const series = Array.from({ length: 500 }, (_, j) => ({
        to: 'inventory',
        protocol: 'http',
        method: 'GET',
        route: `${i}-${j}-${'x'.repeat(100)}`,
        calls: 1,
      }))
      flood.send(series)
      honest.calls('inventory', 10)
    }
    await rig.pass(12_000)
    expect(rig.traffic.table.size).toBeLessThan(3_200)
    expect((await rig.edge('flood', 'inventory', 60_000))!.perSecond).toBeCloseTo(100, 0)
    expect((await rig.edge('checkout', 'inventory', 60_000))!.perSecond).toBeCloseTo(2, 0)
    // After an hour without use the names are free again.
    flood.leave(true)
    await rig.pass(75 * 60_000)
    expect(rig.traffic.table.size).toBe(0)
  })

  test('called services that nobody knows are few edges, and the rest one of other', async () => {
    const flood = rig.process('flood')
    await rig.pass(20_000)
    flood.send(
      Array.from({ length: 400 }, (_, i) => ({ to: `unknown-${i}`, protocol: 'http', method: 'GET', calls: 1 })),
    )
    await rig.pass(12_000)
    const { edges } = await rig.graph(60_000)
    expect(edges.length).toBeLessThanOrEqual(51)
    expect(edges.reduce((sum, { calls }) => sum + calls!, 0)).toBe(400)
    expect(edges.find(({ to }) => to === 'other')!.calls).toBeGreaterThan(300)
  })

  test('more messages than a process needs are dropped, and a gap', async () => {
    const flood = rig.process('flood')
    await rig.pass(60_000)
    for (let i = 0; i < 1_000; i++) flood.calls('inventory', 1, {}, 5)
    await rig.pass(12_000)
    expect(rig.traffic.dropped).toBeGreaterThan(900)
    expect((await rig.edge('flood', 'inventory', 60_000))!.calls).toBeLessThan(100)
    expect((await rig.graph(60_000)).coverage.silent).toEqual(['flood p1'])
  })

  test('marks of one caller do not push out those of others', async () => {
    const [flood, honest] = [rig.process('flood'), rig.process('checkout')]
    await rig.pass(5_000)
    honest.send([], 5_000, [{ at: 0, to: 'inventory', what: 'circuit', from: 'closed', now: 'open' }])
    for (let i = 0; i < 400; i++) {
      await rig.pass(1_250)
      const marks = Array.from({ length: 50 }, (_, j) => ({ at: 0, to: `s-${j}`, what: 'panic', now: 'on' }))
      flood.send([], 1_250, marks)
    }
    expect(rig.traffic.marks.size).toBeLessThan(1_100)
    expect([...rig.traffic.marks.since(0)].filter(({ service }) => service === 'checkout')).toHaveLength(1)
    expect(await rig.edge('checkout', 'inventory', 60_000)).toMatchObject({ circuit: 'open' })
  })
})

describe('marks', () => {
  test('are told as they are now, and not as they were at the end of the latest window', async () => {
    const rig = new TrafficRig()
    const checkout = rig.process('checkout')
    await rig.pass(30_000)
    checkout.send([], 5_000, [{ at: -100, to: 'inventory', what: 'circuit', from: 'closed', now: 'open' }])
    await rig.pass(1_000)
    expect(await rig.edge('checkout', 'inventory', 60_000)).toMatchObject({ circuit: 'open' })
    checkout.send([], 5_000, [{ at: -100, to: 'inventory', what: 'circuit', from: 'open', now: 'closed' }])
    await rig.pass(1_000)
    expect(await rig.edge('checkout', 'inventory', 60_000)).toBeUndefined()
  })

  test('say whether a circuit is open, now and as it was', async () => {
    const process = rig.process('checkout')
    await rig.pass(60_000)
    process.send([{ to: 'inventory', protocol: 'http', calls: 1 }], 5_000, [
      { at: -500, to: 'inventory', what: 'circuit', from: 'closed', now: 'open' },
      { at: -400, to: 'inventory', what: 'ejected', endpoint: '10.0.0.1:80' },
      { at: -300, to: 'inventory', what: 'ejected', endpoint: '10.0.0.2:80' },
      { at: -200, to: 'inventory', what: 'panic', from: 'off', now: 'on' },
    ])
    await rig.pass(12_000)
    expect(await rig.edge('checkout', 'inventory', 60_000)).toMatchObject({ circuit: 'open', ejected: 2 })
    expect((await rig.graph(60_000)).nodes.find(({ service }) => service === 'inventory')).toMatchObject({
      panic: true,
    })
    process.send([{ to: 'inventory', protocol: 'http', calls: 1 }], 5_000, [
      { at: -300, to: 'inventory', what: 'circuit', from: 'open', now: 'closed' },
      { at: -300, to: 'inventory', what: 'restored', endpoint: '10.0.0.1:80' },
      { at: -200, to: 'inventory', what: 'panic', from: 'on', now: 'off' },
    ])
    await rig.pass(60_000)
    expect(await rig.edge('checkout', 'inventory', 120_000)).toMatchObject({ circuit: 'closed', ejected: 1 })
    expect(await rig.edge('checkout', 'inventory', 60_000, 60_000)).toMatchObject({ circuit: 'open', ejected: 2 })
  })

  test('of an ejected endpoint that has left count no longer', async () => {
    const process = rig.process('checkout')
    await rig.pass(20_000)
    const at = { to: 'inventory', endpoint: '10.0.0.1:80' }
    process.send([{ to: 'inventory', protocol: 'http', calls: 1 }], 5_000, [{ at: 0, what: 'ejected', ...at }])
    await rig.pass(30_000)
    expect(await rig.edge('checkout', 'inventory', 60_000)).toMatchObject({ ejected: 1 })
    process.send([{ to: 'inventory', protocol: 'http', calls: 1 }], 5_000, [{ at: 0, what: 'withdrawn', ...at }])
    await rig.pass(30_000)
    expect(await rig.edge('checkout', 'inventory', 60_000)).toMatchObject({ ejected: 0 })
    expect(await rig.edge('checkout', 'inventory', 60_000, 35_000)).toMatchObject({ ejected: 1 })
  })

  test('of a process that is gone count no longer', async () => {
    const process = rig.process('checkout')
    rig.process('checkout', 'other')
    await rig.pass(20_000)
    process.send([{ to: 'inventory', protocol: 'http', calls: 1 }], 5_000, [
      { at: 0, to: 'inventory', what: 'circuit', from: 'closed', now: 'open' },
    ])
    await rig.pass(10_000)
    process.leave(true)
    await rig.pass(30_000)
    expect(await rig.edge('checkout', 'inventory', 60_000)).toMatchObject({ circuit: 'closed' })
  })
})

test('calls in flight are those that processes said last, and end with them', async () => {
  const [a, b] = [rig.process('checkout', 'a'), rig.process('checkout', 'b')]
  await rig.pass(20_000)
  a.calls('inventory', 1, { inFlight: 4 })
  b.calls('inventory', 1, { inFlight: 3 })
  await rig.pass(12_000)
  a.calls('inventory', 1)
  expect(await rig.edge('checkout', 'inventory', 60_000)).toMatchObject({ inFlight: 7 })
  b.leave(true)
  await rig.pass(12_000)
  expect(await rig.edge('checkout', 'inventory', 60_000)).toMatchObject({ inFlight: 4 })
  a.calls('inventory', 1, { inFlight: 0 })
  await rig.pass(12_000)
  expect(await rig.edge('checkout', 'inventory', 60_000)).toMatchObject({ inFlight: 0 })
})

test('the last call in flight of a process ends at the registry, too', async () => {
  const process = rig.process('checkout')
  const counts = new TrafficCounts()
  counts.start(() => {})
  const gauge = { inFlight: 2 }
  const tally = new CallTally(counts, { to: 'inventory', protocol: 'http', method: 'GET' }, gauge)
  tally.touch()
  process.send(counts.take().series)
  await rig.pass(12_000)
  expect(await rig.edge('checkout', 'inventory', 60_000)).toMatchObject({ inFlight: 2 })
  gauge.inFlight = 0
  tally.touch()
  process.send(counts.take().series)
  await rig.pass(12_000)
  expect((await rig.edge('checkout', 'inventory', 60_000))?.inFlight ?? 0).toBe(0)
})
