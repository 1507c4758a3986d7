/** Traffic of a mesh with several registries: each keeps its own, and answers for all. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Graph } from '../../../src/registry/traffic/graph.ts'
import { LatencyDigest } from '../../../src/telemetry/traffic/latency-digest.ts'
import type { TrafficSeries } from '../../../src/telemetry/traffic/traffic-message.ts'
import { type Member, TestFleet } from '../../rigs/fleet.ts'
import { instance } from '../../rigs/instance.ts'
import { LeapingClock } from '../../rigs/leaping-clock.ts'
import type { TestSession } from '../../rigs/registry-session.ts'

let clock: LeapingClock
let fleet: TestFleet

beforeEach(() => {
  clock = new LeapingClock(0)
  fleet = new TestFleet({ lease: '10m', clock })
})

afterEach(() => fleet.close())

function digest(latencyMs: number, count: number): string {
  const made = new LatencyDigest()
  for (let i = 0; i < count; i++) made.record(latencyMs)
  return made.encode()
}

function report(session: TestSession, series: readonly TrafficSeries[]): Promise<unknown> {
  const marks = [{ at: 0, to: 'inventory', what: 'circuit', from: 'closed', now: 'half-open' }]
  session.send({ type: 'traffic', sequence: 1, forMs: 5_000, series, marks })
  return session.ask({ type: 'deregister', id: 'none' })
}

/** The graph once every registry has answered: one that is late is unreachable. */
async function whole(member: Member): Promise<Graph> {
  let graph!: Graph
  const unreachable = async (): Promise<unknown> => {
    graph = (await fleet.ask(member, '/v1/traffic/graph')).json
    return graph.coverage.unreachable
  }
  await expect.poll(unreachable).toEqual([])
  return graph
}

test('every registry answers for all, with sums and percentiles of all calls', async () => {
  const [r1, r2] = [await fleet.start(), await fleet.start()]
  const a = await fleet.session(r1, 'checkout', { process: 'a', traffic: true })
  const b = await fleet.session(r2, 'checkout', { process: 'b', traffic: true })
  await b.ask({ type: 'register', instance: instance('checkout', 'c1') })
  clock.pass(10_000)
  await report(a, [{ to: 'inventory', protocol: 'http', calls: 90, ms: digest(1, 90) }])
  await report(b, [{ to: 'inventory', protocol: 'http', calls: 10, codes: { timeout: 10 }, ms: digest(100, 10) }])
  clock.pass(15_000)
  for (const session of [a, b]) await session.ask({ type: 'deregister', id: 'none' })
  for (const member of [r1, r2]) {
    const json = await whole(member)
    expect(json.coverage).toMatchObject({ processes: 2, heard: 2 })
    expect([...json.coverage.registries].sort()).toEqual(['r1', 'r2'])
    expect(json.edges).toMatchObject([{ calls: 100, success: 0.9, circuit: 'half-open', gap: 0 }])
    expect(json.edges[0]!.p50).toBeCloseTo(1, 0)
    expect(json.edges[0]!.p99).toBeGreaterThan(80)
    const instances = (await fleet.ask(member, '/v1/traffic/instances?service=checkout')).json
    expect(instances.instances).toMatchObject([{ id: 'c1', process: { process: 'checkout b', registry: 'r2' } }])
    expect(instances.processes).toMatchObject([{ process: 'checkout a', registry: 'r1' }])
    const { events } = (await fleet.ask(member, '/v1/traffic/events?kind=circuit')).json
    expect(events.map(({ process }: { process: string }) => process).sort()).toEqual(['checkout a', 'checkout b'])
    const alone = (await fleet.ask(member, '/v1/traffic/graph?local=1')).json
    expect(alone.coverage.registries).toEqual([member.id])
    expect(alone.edges[0].calls).not.toBe(100)
  }
})

test('a process that moves to another registry is one process, without a gap', async () => {
  const [r1, r2] = [await fleet.start(), await fleet.start()]
  const before = await fleet.session(r1, 'checkout', { process: 'a', traffic: true })
  before.send({ type: 'watch', service: 'inventory' })
  await before.next('snapshot')
  clock.pass(10_000)
  await report(before, [{ to: 'inventory', protocol: 'http', calls: 50 }])
  const after = await fleet.session(r2, 'checkout', { process: 'a', traffic: true })
  before.close()
  await expect.poll(async () => (await fleet.ask(r1, '/v1/registries')).json.registries[0].sessions).toBe(0)
  await report(after, [{ to: 'inventory', protocol: 'http', calls: 50 }])
  clock.pass(15_000)
  await after.ask({ type: 'deregister', id: 'none' })
  const json = await whole(r1)
  expect(json.coverage).toMatchObject({ processes: 1 })
  expect(json.edges).toMatchObject([{ calls: 100 }])
  expect(json.edges[0]!.gap).toBeLessThan(0.05)
})

test('a registry that does not answer is named, and no other waits for it', async () => {
  const [r1, r2] = [await fleet.start(), await fleet.start()]
  const a = await fleet.session(r1, 'checkout', { process: 'a', traffic: true })
  clock.pass(10_000)
  await report(a, [{ to: 'inventory', protocol: 'http', calls: 90 }])
  clock.pass(15_000)
  await a.ask({ type: 'deregister', id: 'none' })
  // Closed, and announced as before.
  await r2.registry.close()
  await r1.view.announce(
    'registry/r3',
    JSON.stringify({ id: 'r3', url: 'https://127.0.0.1:9', version: '0', protocol: 2, startedAt: 0, sessions: 0 }),
  )
  await expect.poll(async () => (await fleet.ask(r1, '/v1/registries')).json.registries.length).toBe(2)
  const { json } = await fleet.ask(r1, '/v1/traffic/graph')
  expect(json.edges).toMatchObject([{ calls: 90 }])
  expect(json.coverage).toMatchObject({ registries: ['r1'], unreachable: [{ registry: 'r3' }] })
})
