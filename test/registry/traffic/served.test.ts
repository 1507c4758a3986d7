/** The load of each instance, as the servers of its process report it. */
import { expect, test } from 'vitest'
import type { ServiceEntry } from '../../../src/registry/service-entry.ts'
import { instancesOf, reportsOf, type ServiceInstance } from '../../../src/registry/traffic/instances.ts'
import type { ServedSeries } from '../../../src/telemetry/traffic/traffic-message.ts'
import { instance } from '../../rigs/instance.ts'
import { latencies, type Reporter, TrafficRig } from './rig.ts'

const SERVICE = 'inventory'

function setUp(...ids: readonly string[]) {
  const rig = new TrafficRig()
  const registeredAt = rig.clock.wallNow()
  const entry = {
    instances: new Map(ids.map((id) => [id, { instance: instance(SERVICE, id), owner: '', registeredAt }])),
    overrides: new Map(),
  } as unknown as ServiceEntry
  const processes = new Map<string, Reporter>()
  const process = (id: string, reports = true, name = id): Reporter => {
    const made = rig.process(SERVICE, name, reports)
    made.instances.add(id)
    processes.set(id, made)
    return made
  }
  const report = (id: string, served: Partial<ServedSeries>, forMs = 5_000): void =>
    processes.get(id)!.send([], forMs, [], [{ id, ...served }])
  const all = (): ServiceInstance[] =>
    instancesOf(
      entry,
      reportsOf(rig.traffic, 'r1', SERVICE, entry, () => undefined),
    )
  const served = (id: string) => all().find((one) => one.id === id)!.served
  return { rig, process, report, served, all }
}

test('has rate, share, success and percentiles of the last minute', async () => {
  const { rig, process, report, served } = setUp('a', 'b')
  process('a')
  process('b')
  await rig.pass(60_000)
  for (let i = 0; i < 24; i++) {
    await rig.pass(5_000)
    report('a', { ended: 75, failed: 15, ms: latencies(...Array(75).fill(10)) })
    report('b', { ended: 25, cancelled: 5, ms: latencies(...Array(19).fill(10), 400), inFlight: 7 })
  }
  await rig.pass(1_000)
  expect(served('a')).toMatchObject({ perSecond: 15, share: 0.75, success: 0.8, inFlight: 0 })
  expect(served('b')).toMatchObject({ perSecond: 5, share: 0.25, success: 1, inFlight: 7 })
  expect(served('b')!.p50).toBeCloseTo(10, -0.5)
  expect(served('b')!.p99).toBeGreaterThan(350)
  // Idle from now on: its minute empties, and what is in flight stays.
  await rig.pass(30_000)
  expect(served('b')!.perSecond).toBeGreaterThan(2)
  expect(served('b')!.perSecond).toBeLessThan(4)
  await rig.pass(60_000)
  expect(served('b')).toEqual({ perSecond: 0, share: null, success: null, p50: null, p99: null, inFlight: 7 })
})

test('is unknown, and not 0, of a process that is older, silent or new, and of none at all', async () => {
  const { rig, process, report, served } = setUp('old', 'silent', 'new', 'nobody', 'heard')
  process('old', false)
  const silent = process('silent')
  process('heard')
  await rig.pass(30_000)
  report('silent', { ended: 100 })
  report('heard', { ended: 10 })
  await rig.pass(1_000)
  silent.silence()
  await rig.pass(30_000)
  process('new')
  for (const id of ['old', 'silent', 'new', 'nobody']) expect(served(id)).toBeNull()
  // A share is of those that are heard.
  expect(served('heard')!.share).toBe(1)
})

test('has no time that was not heard: a rate is of the rest', async () => {
  const { rig, process, report, served } = setUp('a')
  const a = process('a')
  await rig.pass(60_000)
  for (let i = 0; i < 12; i++) {
    await rig.pass(5_000)
    if (i === 3) a.sequence += 1
    else report('a', { ended: 50 })
  }
  await rig.pass(1_000)
  expect(served('a')!.perSecond).toBeCloseTo(10, 0)
})

test('a process speaks of its own instances only', async () => {
  const { rig, process, report, served } = setUp('a', 'b')
  process('a')
  const b = process('b')
  await rig.pass(60_000)
  report('a', { ended: 50 })
  b.send([], 5_000, [], [{ id: 'a', ended: 1_000_000, failed: 1_000_000, inFlight: 9 }])
  await rig.pass(10_000)
  expect(served('a')).toMatchObject({ success: 1, inFlight: 0 })
  expect(served('a')!.perSecond).toBeLessThan(2)
  expect(served('b')).toMatchObject({ perSecond: 0, success: null })
})

test('of many instances and large digests, a shorter time is kept in bounded memory', async () => {
  const { rig, process, served } = setUp('a')
  const a = process('a')
  const digest = latencies(...Array.from({ length: 110 }, (_, i) => 1.2 ** i / 1_000))
  const others = Array.from({ length: 99 }, (_, i) => `o${i}`)
  for (const id of others) a.instances.add(id)
  await rig.pass(60_000)
  for (let i = 0; i < 12; i++) {
    await rig.pass(5_000)
    a.send(
      [],
      5_000,
      [],
      ['a', ...others].map((id) => ({ id, ended: 110, ms: digest })),
    )
  }
  await rig.pass(1_000)
  expect(served('a')!.perSecond).toBe(22)
})

test('each has its address as taps and events name an endpoint', () => {
  const { all } = setUp('a')
  const { address, port } = instance(SERVICE, 'a')
  expect(all().map((one) => one.address)).toEqual([`${address}:${port}`])
})
