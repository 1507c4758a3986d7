/** A member with a valid certificate that reports what no process counts. */
import { beforeEach, expect, test } from 'vitest'
import { SnapshotRejected } from '../../../src/discovery/read-field.ts'
import { RecordReader, RecordWriter } from '../../../src/registry/traffic/records.ts'
import { Totals } from '../../../src/registry/traffic/totals.ts'
import { MOST_COUNTED } from '../../../src/telemetry/traffic/latency-digest.ts'
import { Reporter, TrafficRig } from './rig.ts'

const HTTP = { to: 'inventory', protocol: 'http', method: 'GET' }
const message = (more: object) => ({ type: 'traffic', sequence: 1, forMs: 5_000, series: [], ...more })
const series = (more: object) => message({ series: [{ ...HTTP, calls: 10, ...more }] })
const served = (more: object) => message({ served: [{ id: 'a', ended: 10, ...more }] })

const INVALID: Readonly<Record<string, object>> = {
  'a huge count': series({ calls: 1e308 }),
  'a negative count': series({ calls: -1 }),
  'a count of 2^53': series({ calls: 2 ** 53 }),
  'a part of a call': series({ calls: 0.5 }),
  'no number': series({ calls: Number.NaN }),
  'more failures than calls': series({ codes: { timeout: 11 } }),
  'a code of control characters': series({ codes: { 'a\u0000b': 1 } }),
  'the prototype as a code': JSON.parse(
    '{"type":"traffic","sequence":1,"forMs":1,"series":[{"to":"a","protocol":"http","calls":1,"codes":{"__proto__":1}}]}',
  ),
  'garbage as a digest': series({ ms: 'zz:zz:zz' }),
  'a digest without end': series({ ms: '1,'.repeat(100_000) }),
  'a digest of more than the calls': series({ ms: '1:b' }),
  'a digest with a huge count': series({ ms: `1:${'z'.repeat(300)}` }),
  'a sequence of 0': message({ sequence: 0 }),
  'a negative time': message({ forMs: -1 }),
  'a time of 10^15 ms': message({ forMs: 1e15 }),
  'a route of control characters': series({ route: 'a\u001b[2Jb' }),
  'a version that reverses its text': series({ version: '\u202ev1' }),
  'a service that is no name': series({ to: '<script>' }),
  'a method of 10,000 characters': series({ method: 'G'.repeat(10_000) }),
  'what it served another member': message({ series: [{ ...HTTP, side: 'server', from: 'checkout', calls: 9 }] }),
  'no list': message({ series: {} }),
  'too many series': message({ series: Array(502).fill(HTTP) }),
  'too many marks': message({ marks: Array(51).fill({ at: 0, to: 'inventory', what: 'panic' }) }),
  'a mark of the future': message({ marks: [{ at: 1, to: 'inventory', what: 'panic' }] }),
  'more served failures than requests': served({ failed: 6, cancelled: 5 }),
  'a served digest of more than the requests': served({ ms: '1:b' }),
  'too many served': message({ served: Array(101).fill({ id: 'a', ended: 1 }) }),
}

let rig: TrafficRig
let honest: Reporter
let hostile: Reporter

beforeEach(() => {
  rig = new TrafficRig()
  honest = rig.process('checkout')
  hostile = rig.process('hostile')
})

test.each(Object.entries(INVALID))('%s is refused, counted and a gap of its sender alone', async (_, sent) => {
  await rig.pass(30_000)
  honest.calls('inventory', 50)
  expect(() => rig.traffic.report(hostile, sent as Record<string, unknown>)).toThrow(SnapshotRejected)
  await rig.pass(12_000)
  expect(rig.traffic).toMatchObject({ taken: 1, dropped: 1 })
  const { edges, coverage } = await rig.graph(60_000)
  expect(edges).toMatchObject([{ from: 'checkout', to: 'inventory', calls: 50, success: 1, gap: 0 }])
  expect(coverage.silent).toEqual(['hostile p1'])
  expect(rig.failures).toEqual([])
})

test('the largest counts, calls to itself and sequences that go back change no figure of another caller', async () => {
  await rig.pass(30_000)
  for (let i = 0; i < 12; i++) {
    await rig.pass(5_000)
    honest.calls('inventory', 50)
    hostile.sequence = i % 2 === 0 ? 1_000 - i : 1
    hostile.calls('inventory', MOST_COUNTED, { codes: { timeout: MOST_COUNTED } }, 0)
    hostile.calls('hostile', MOST_COUNTED)
  }
  await rig.pass(12_000)
  expect(await rig.edge('checkout', 'inventory', 60_000)).toMatchObject({ success: 1, gap: 0 })
  expect((await rig.edge('checkout', 'inventory', 60_000))!.perSecond).toBeCloseTo(10, 0)
  expect((await rig.edge('hostile', 'inventory', 60_000))!.success).toBe(0)
  expect(rig.failures).toEqual([])
})

test('10,000 messages in a second are held to the share of one process', async () => {
  await rig.pass(30_000)
  for (let i = 0; i < 10_000; i++) hostile.calls('inventory', 1, {}, 0)
  honest.calls('inventory', 50)
  await rig.pass(12_000)
  expect(rig.traffic.dropped).toBeGreaterThan(9_900)
  expect(await rig.edge('checkout', 'inventory', 60_000)).toMatchObject({ calls: 50, gap: 0 })
})

test('sums beyond what a record holds stay the largest, and end', () => {
  const totals = new Totals()
  totals.calls = 2 ** 62
  totals.addFailures(1, Number.MAX_VALUE)
  totals.addLatencies(115, 2 ** 70)
  const writer = new RecordWriter()
  for (let i = 0; i < 100; i++) writer.write(i, totals)
  const reader = new RecordReader(writer.take())
  for (let i = 0; i < 100; i++) {
    expect(reader.next()).toBe(true)
    const read = new Totals()
    reader.addTo(read)
    expect([reader.series, read.calls, read.failures, read.steps[115]]).toEqual([
      i,
      ...Array(3).fill(Number.MAX_SAFE_INTEGER),
    ])
  }
  expect(reader.next()).toBe(false)
})

test('a session that flaps every second is one process, whose counts are whole', async () => {
  await rig.pass(30_000)
  let session = honest
  for (let second = 1; second <= 60; second++) {
    session.leave(false)
    await rig.pass(500)
    session = new Reporter(rig, 'checkout', 'checkout p1', true)
    if (second % 5 === 0) session.calls('inventory', 50)
    await rig.pass(500)
    session.beat()
  }
  for (let second = 0; second < 12; second++) {
    await rig.pass(1_000)
    session.beat()
  }
  const { edges, coverage } = await rig.graph(120_000)
  expect(edges).toMatchObject([{ from: 'checkout', calls: 600 }])
  expect(coverage.processes).toBe(2)
})

test('a process whose event loop stood still for 30 s reports it as one long time', async () => {
  await rig.pass(60_000)
  honest.silence()
  await rig.pass(30_000)
  honest.recover()
  honest.calls('inventory', 300, {}, 30_000)
  await rig.pass(12_000)
  const { points } = await rig.series('checkout', 'inventory', 30_000, 5_000)
  for (const { perSecond } of points) expect(perSecond).toBeLessThan(15)
  expect(await rig.edge('checkout', 'inventory', 60_000)).toMatchObject({ calls: 300, gap: 0 })
})
