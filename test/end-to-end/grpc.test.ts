/**
 * gRPC between processes, under load: kills, a rolling restart, certificates that live for 20 s.
 */
import type { Readable } from 'node:stream'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { isMeshError, type Mesh } from '../../src/index.ts'
import type { Registry } from '../../src/registry/index.ts'
import { begin, type Ended, Shop } from '../rigs/shop.ts'
import { Load } from './load.ts'
import { eventually, type Process, Rig, wait } from './rig.ts'

let rig: Rig
let registry: Registry

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

function start(name: string, more: object = {}): Promise<Process> {
  const mesh = { service: 'inventory', registry: registry.url, stateDir: 'memory' }
  return rig.start('grpc-service', { mesh, name, ...more })
}

function shopOf(client: Mesh) {
  return client.grpc(Shop, 'inventory').promises
}

test('kill -9 under load: no idempotent call fails, and no other one is executed twice or fails without need', async () => {
  registry = await rig.registry({ dev: true, lease: '5s' })
  // In turn, so that each server has calls of both kinds in flight.
  await registry.applyPolicies([{ service: 'inventory', balancer: 'round-robin' }])
  const more = { log: rig.path('executed'), workMs: 150 }
  const servers = await Promise.all(['a', 'b', 'c'].map((name) => start(name, more)))
  const shop = shopOf(await rig.mesh(registry, 'checkout'))
  const outcomes = new Map<string, 'answered' | { sent: boolean; code: string }>()
  const reads = new Load(100, () => shop.get({ sku: 'x' }))
  const takes = new Load(100, async (number) => {
    const id = `id-${number}`
    try {
      await shop.take({ sku: id })
      outcomes.set(id, 'answered')
    } catch (error) {
      const { cause } = error as { cause: unknown }
      if (!isMeshError(cause)) throw error
      outcomes.set(id, { sent: cause.sent, code: cause.code })
    }
  })
  rig.onClose(() => Promise.all([reads.stop(), takes.stop()]))
  const both = (calls: number) => Promise.all([reads.succeeds(calls), takes.succeeds(calls)])
  await both(100)
  let inFlight = await takes.inFlightAtEndOf(servers[0]!)
  await both(100)
  await start('d', more)
  await both(50)
  inFlight += await takes.inFlightAtEndOf(servers[1]!)
  await both(150)
  await Promise.all([reads.stop(), takes.stop()])

  expect(reads.failures).toEqual([])
  expect(reads.succeeded).toBeGreaterThan(300)
  expect(takes.failures).toEqual([])
  const executed = rig.lines('executed')
  expect(executed.filter((id, i) => executed.indexOf(id) !== i)).toEqual([])
  const ran = new Set(executed)
  const answered = [...outcomes].filter(([, how]) => how === 'answered').map(([id]) => id)
  expect(answered.filter((id) => !ran.has(id))).toEqual([])
  expect(answered.length).toBeGreaterThan(300)
  const failed = [...outcomes.values()].filter((how) => how !== 'answered')
  // What certainly was not executed has other servers to go to.
  expect(failed.filter(({ sent }) => !sent)).toEqual([])
  expect(failed.map(({ code }) => code).filter((code) => code !== 'connection-lost')).toEqual([])
  // Two kills, each of a third of the calls in flight; more would be calls that went on to dead
  // servers.
  expect(failed.length).toBeGreaterThan(0)
  expect(failed.length).toBeLessThanOrEqual(inFlight)
}, 120_000)

test('a rolling restart by SIGTERM fails no unary call, repeated or not, and streams end in their own time', async () => {
  registry = await rig.registry({ dev: true })
  await registry.applyPolicies([{ service: 'inventory', balancer: 'round-robin' }])
  const more = { log: rig.path('executed'), workMs: 20, endStreamsAfterMs: 1_200 }
  const first = await Promise.all(['a', 'b', 'c'].map((name) => start(name, more)))
  const client = await rig.mesh(registry, 'checkout')
  const shop = shopOf(client)
  const names = new Set<string>()
  const calls = new Load(100, async (number) => {
    const { sku } = await (number % 2 === 0 ? shop.get({ sku: 'x' }) : shop.take({ sku: `id-${number}` }))
    names.add(sku ?? '')
  })
  rig.onClose(() => calls.stop())
  const streams = Array.from({ length: 9 }, () => begin(client.grpc(Shop, 'inventory'), 'watch'))
  const streamEnds = Promise.all(streams.map(({ ended }) => ended))
  await wait(1_000)
  for (const [i, server] of first.entries()) {
    await start(['d', 'e', 'f'][i]!, more)
    server.signal('SIGTERM')
    const { code, signal } = await server.exited
    expect([code, signal]).toEqual([0, null])
  }
  await calls.succeeds(50)
  await calls.stop()
  expect(calls.failures).toEqual([])
  expect([...names].sort()).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
  const executed = rig.lines('executed')
  expect(executed.filter((id, i) => executed.indexOf(id) !== i)).toEqual([])
  for (const { code, details, answers } of await streamEnds) {
    expect([code, details]).toEqual([0, 'OK'])
    expect(answers.length).toBeGreaterThan(10)
  }
}, 150_000)

test('streams that do not end in the time of a drain are told so, and the process ends all the same', async () => {
  registry = await rig.registry({ dev: true })
  const server = await rig.start('grpc-service', {
    mesh: { service: 'inventory', registry: registry.url, stateDir: 'memory', drainTimeout: '1s' },
    name: 'a',
  })
  const client = await rig.mesh(registry, 'checkout')
  const stream = begin(client.grpc(Shop, 'inventory'), 'watch')
  await new Promise((resolve) => (stream.call as unknown as Readable).once('data', resolve))
  server.signal('SIGTERM')
  expect((await server.exited).code).toBe(0)
  const { code, details } = await stream.ended
  expect([code, details]).toEqual([14, expect.stringContaining('going away')])
})

test('three rotations of 20 s leaves fail no unary call and no stream', async () => {
  registry = await rig.registry({ dev: true, certificateLife: 20_000 })
  // There is no other server to go to while this one has no turn to run.
  await registry.applyPolicies([{ service: 'inventory', timeout: '30s', retry: { perTryTimeout: '20s' } }])
  const server = await start('a', { serve: { rotationGrace: '2s' } })
  const client = await rig.mesh(registry, 'checkout')
  const shop = shopOf(client)
  const callers = new Set<string>()
  let renewals = 0
  const load = new Load(100, async () => {
    const { filler, left } = await shop.get({ sku: 'x' })
    callers.add(String(filler))
    renewals = Math.max(renewals, left ?? 0)
  })
  rig.onClose(() => load.stop())
  const chats: { echoes: number; sent: number; ended: Promise<Ended>; end(): void }[] = []
  const begun = performance.now()
  const chat = (): void => {
    const running = begin(client.grpc(Shop, 'inventory'), 'chat', { open: true, items: [] })
    const state = { echoes: 0, sent: 0, ended: running.ended, end: () => sink.end() }
    const sink = running.call as unknown as { write(item: object): void; end(): void }
    ;(running.call as unknown as Readable).on('data', () => {
      state.echoes += 1
    })
    const timer = setInterval(() => {
      state.sent += 1
      sink.write({ sku: 'x' })
    }, 100)
    state.end = () => {
      clearInterval(timer)
      sink.end()
    }
    rig.onClose(() => clearInterval(timer))
    chats.push(state)
  }
  for (let i = 0; i < 3; i++) chat()
  while (performance.now() - begun < 75_000 && !(callers.size >= 4 && renewals >= 4)) {
    await wait(1_000)
    if (chats.length < 12) chat()
  }
  await load.stop()
  for (const each of chats) each.end()
  for (const { ended, echoes, sent } of chats) {
    const { code, details } = await ended
    expect([code, details]).toEqual([0, 'OK'])
    expect([echoes > 0, sent > 0]).toEqual([true, true])
  }
  expect(load.failures).toEqual([])
  expect(load.succeeded).toBeGreaterThan(2_000)
  expect(callers.size).toBeGreaterThanOrEqual(4)
  expect(renewals).toBeGreaterThanOrEqual(3)
  // Connections of the old certificates end with their last stream.
  await eventually('one connection is left', async () => Number((await server.ask('streams')).connections) <= 2)
}, 120_000)
