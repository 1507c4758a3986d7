/** Questions about traffic to real registries: who may ask, the answers, and streams. */
import https from 'node:https'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Registry, type RegistryOptions, startRegistry } from '../../../src/registry/index.ts'
import { LatencyDigest } from '../../../src/telemetry/traffic/latency-digest.ts'
import type { TrafficMark, TrafficSeries } from '../../../src/telemetry/traffic/traffic-message.ts'
import { instance } from '../../rigs/instance.ts'
import { LeapingClock } from '../../rigs/leaping-clock.ts'
import { type Answer, join, request, TestSession } from '../../rigs/registry-session.ts'

let clock: LeapingClock
let registry: Registry
const sessions: TestSession[] = []
const sequences = new Map<TestSession, number>()

async function start(options: RegistryOptions = {}): Promise<void> {
  clock = new LeapingClock(0)
  registry = await startRegistry({
    ...{ port: 0, memory: true, log: false, joinsPerSecond: 1_000, clock },
    // Whatever the tests let pass, nothing expires.
    lease: '10m',
    ...options,
  })
  // What was before its start it does not keep.
  clock.pass(10_000)
}

beforeEach(() => start())

afterEach(async () => {
  for (const session of sessions.splice(0)) session.close()
  sequences.clear()
  await registry.close()
})

async function open(service: string, name = 'p1'): Promise<TestSession> {
  const session = await TestSession.open(registry, service, undefined, { process: name, traffic: true })
  sessions.push(session)
  return session
}

function report(session: TestSession, series: readonly TrafficSeries[], marks: readonly TrafficMark[] = []): void {
  const sequence = (sequences.get(session) ?? 0) + 1
  sequences.set(session, sequence)
  session.send({ type: 'traffic', sequence, forMs: 5_000, series, ...(marks.length > 0 && { marks }) })
}

/** Everything that was sent is heard, and old enough to be complete. */
async function settle(): Promise<void> {
  for (const session of sessions) await session.ask({ type: 'deregister', id: 'none' })
  clock.pass(12_000)
  for (const session of sessions) await session.ask({ type: 'deregister', id: 'none' })
}

function ask(path: string, headers: Record<string, string> = {}): Promise<Answer> {
  return request(registry, 'GET', path, { admin: true, headers })
}

const ms = (() => {
  const digest = new LatencyDigest()
  for (let i = 0; i < 100; i++) digest.record(10)
  return digest.encode()
})()
const CALLS: TrafficSeries = {
  ...{ to: 'inventory', protocol: 'http', method: 'GET', route: 'items', version: 'v1', tls: true },
  ...{ calls: 100, codes: { timeout: 5 }, retries: 2, inFlight: 3, ms },
}

describe('a session', () => {
  test('is asked to report, and a mistake in a report does not end it', async () => {
    const session = await open('checkout')
    expect(await session.next('welcome')).toMatchObject({ traffic: { everyMs: 5_000 } })
    report(session, [{ ...CALLS, calls: -1 }])
    expect((await session.next('error')).message).toMatch(/^series\[0\]: calls: expected a whole number/)
    report(session, [CALLS])
    await settle()
    expect((await ask('/v1/traffic/graph')).json.edges).toHaveLength(1)
  })

  test('ends with a report that becomes another message by a key that is there twice', async () => {
    const session = await open('checkout')
    session.sendRaw('{"type":"traffic","sequence":1,"forMs":1,"series":[],"type":"drain","id":"i1"}\n')
    expect((await session.next('error')).message).toContain("the key 'type' is there twice")
    await session.until(() => session.closed)
  })

  test('ends with a report that has a key of prototypes', async () => {
    const session = await open('checkout')
    session.sendRaw('{"type":"traffic","sequence":1,"forMs":1,"series":[{"__proto__":{}}]}\n')
    expect((await session.next('error')).message).toContain('not allowed')
  })

  test('is not asked by a registry that keeps nothing, which says so', async () => {
    await registry.close()
    await start({ traffic: false })
    const session = await open('checkout')
    expect(await session.next('welcome')).not.toHaveProperty('traffic')
    report(session, [CALLS])
    await settle()
    for (const path of ['graph', 'series?service=a', 'routes?service=a', 'instances?service=a', 'events', 'stream']) {
      const { status, json } = await ask(`/v1/traffic/${path}`)
      expect([status, json.error.code, json.error.message]).toEqual([
        404,
        'not-found',
        expect.stringMatching(/traffic/),
      ])
    }
  })
})

describe('the graph', () => {
  test('joins calls with instances, versions, leases and certificates', async () => {
    const owner = await open('inventory')
    await owner.ask({ type: 'register', instance: instance('inventory', 'i1', { version: 'v1', zone: 'a' }) })
    await owner.ask({ type: 'register', instance: instance('inventory', 'i2', { version: 'v2', zone: 'a', port: 2 }) })
    await owner.ask({ type: 'drain', id: 'i2' })
    const caller = await open('checkout')
    report(caller, [CALLS], [{ at: -100, to: 'inventory', what: 'circuit', from: 'closed', now: 'open' }])
    await settle()
    const { status, json } = await ask('/v1/traffic/graph?window=60s')
    expect(status).toBe(200)
    expect(json.coverage).toMatchObject({ processes: 2, heard: 2, silent: [], registries: ['local'], unreachable: [] })
    expect(json.edges).toEqual([
      {
        ...{ from: 'checkout', to: 'inventory', calls: 100, success: 0.95, retries: 2, hedges: 0, mirrored: 0 },
        ...{ inFlight: 3, tls: true, codes: { timeout: 5 }, versions: { v1: 1 }, circuit: 'open', ejected: 0, gap: 0 },
        ...{
          perSecond: expect.any(Number),
          p50: expect.closeTo(10, -1),
          p90: expect.any(Number),
          p99: expect.any(Number),
        },
      },
    ])
    expect(json.edges[0].perSecond).toBeCloseTo(100_000 / json.windowMs, 1)
    const inventory = json.nodes.find((node: { service: string }) => node.service === 'inventory')
    expect(inventory).toMatchObject({
      ...{ instances: 2, healthy: 1, draining: 1, frozen: false, versions: { v1: 1, v2: 1 }, zones: { a: 2 } },
      ...{ panic: false, processes: 1, gap: 0, policyVersion: null },
    })
    expect(inventory.certificateEndsAt).toBeGreaterThan(Date.now())
  })

  test('of the past has calls, and knows nothing of the instances of then', async () => {
    const caller = await open('checkout')
    report(caller, [CALLS])
    await settle()
    const { at } = (await ask('/v1/traffic/graph')).json
    for (let i = 0; i < 4; i++) {
      clock.pass(60_000)
      await settle()
    }
    expect((await ask('/v1/traffic/graph')).json.edges).toMatchObject([{ calls: 0, inFlight: 3 }])
    const past = (await ask(`/v1/traffic/graph?at=${at}`)).json
    expect(past.edges).toMatchObject([{ calls: 100, inFlight: null }])
    expect(past.nodes).toMatchObject([
      { service: 'checkout', instances: null },
      { service: 'inventory', frozen: null },
    ])
  })
})

test('points in time are those of the slots, and unknown before the start', async () => {
  const caller = await open('checkout')
  report(caller, [CALLS])
  await settle()
  const { json } = await ask('/v1/traffic/series?from=checkout&to=inventory&window=5m&step=5s')
  expect(json).toMatchObject({ windowMs: 300_000, stepMs: 5_000 })
  expect(json.points).toHaveLength(60)
  expect(json.points[0]).toMatchObject({ perSecond: null, success: null, gap: null })
  const known = json.points.filter((point: { calls: number | null }) => point.calls !== null)
  expect(known.reduce((sum: number, { calls }: { calls: number }) => sum + calls, 0)).toBe(100)
  for (let i = 1; i < 60; i++) expect(json.points[i].at - json.points[i - 1].at).toBe(5_000)
  const ofService = (await ask('/v1/traffic/series?service=inventory&window=60s')).json
  expect(ofService.points.reduce((sum: number, { calls }: { calls: number }) => sum + calls, 0)).toBe(100)
})

test('routes have the wanted weights, what was served, and who has acknowledged the document', async () => {
  const subsets = { one: { version: 'v1' }, two: { version: 'v2' } }
  const split = [
    { to: 'one', weight: 90 },
    { to: 'two', weight: 10 },
  ]
  const routes = [{ name: 'items', match: [{ path: '/items/*' }], split }]
  await registry.applyPolicies([{ service: 'inventory', subsets, routes }])
  const caller = await open('checkout')
  caller.send({ type: 'watch', service: 'inventory' })
  const { revision } = await caller.next('snapshot')
  report(caller, [
    { ...CALLS, calls: 300 },
    { ...CALLS, version: 'v2' },
    { ...CALLS, to: 'stock', via: 'inventory', route: 'old' },
    { to: 'shadow', via: 'inventory', protocol: 'http', method: 'GET', route: 'items', mirrored: 40 },
  ])
  await settle()
  const before = (await ask('/v1/traffic/routes?service=inventory')).json
  expect(before.document).toMatchObject({ version: 1, watchers: 1, acknowledged: 0, routes: [{ split }] })
  expect(before.routes).toMatchObject([
    { route: 'items', method: 'GET', callers: ['checkout'], calls: 400, versions: { v1: 0.75, v2: 0.25 } },
    { route: 'old', calls: 100, services: { stock: 1 } },
  ])
  // Copies are of their route, and no calls that it led elsewhere.
  expect(before.routes[0]).toMatchObject({ mirrored: 40, services: expect.not.objectContaining({ shadow: 0 }) })
  caller.send({ type: 'ack', service: 'inventory', revision })
  await settle()
  const after = (await ask('/v1/traffic/routes?service=inventory')).json
  expect(after.document).toMatchObject({ watchers: 1, acknowledged: 1 })
})

test('instances come with their processes: what they call, and how current they are', async () => {
  const owner = await open('inventory')
  await owner.ask({ type: 'register', instance: instance('inventory', 'i1', { version: 'v1' }) })
  owner.send({ type: 'watch', service: 'stock' })
  await open('inventory', 'p2')
  report(owner, [{ ...CALLS, to: 'stock' }])
  await owner.ask({ type: 'deregister', id: 'none' })
  await expect
    .poll(async () => (await ask('/v1/traffic/instances?service=inventory')).json.instances[0].process.perSecond)
    .toBe(20)
  const { json } = await ask('/v1/traffic/instances?service=inventory')
  expect(json).toMatchObject({
    frozen: false,
    instances: [
      {
        ...{ id: 'i1', version: 'v1', zone: null, state: 'ready', disabled: false, registry: 'local' },
        process: {
          ...{ process: 'inventory p1', connected: true, reports: true, watches: 1, behind: 0, inFlight: 3 },
          ...{ success: 0.95, p50: expect.closeTo(10, -1) },
        },
      },
    ],
    processes: [{ process: 'inventory p2', perSecond: 0, success: null, p50: null }],
  })
  expect(await ask('/v1/traffic/instances?service=nobody')).toMatchObject({ status: 404 })
})

test('events are marks, instances, documents and refusals, newest first and filtered', async () => {
  const owner = await open('inventory')
  await owner.ask({ type: 'register', instance: instance('inventory', 'i1') })
  await owner.ask({ type: 'drain', id: 'i1' })
  await owner.ask({ type: 'deregister', id: 'i1' })
  await registry.applyPolicies([{ service: 'inventory', timeout: '1s' }])
  const caller = await open('checkout')
  report(
    caller,
    [],
    [
      { at: -100, to: 'inventory', what: 'circuit', from: 'closed', now: 'open', route: 'items' },
      { at: -50, to: 'inventory', what: 'ejected', endpoint: '10.0.0.1:80', reason: 'errors' },
    ],
  )
  await settle()
  const kinds = async (query: string): Promise<unknown> =>
    (await ask(`/v1/traffic/events${query}`)).json.events.map(
      (one: { kind: string; what: string }) => `${one.kind} ${one.what}`,
    )
  expect(await kinds('?kind=instance')).toEqual(['instance left', 'instance draining', 'instance registered'])
  expect(await kinds('?kind=push')).toEqual(['push policy-apply'])
  expect(await kinds('?kind=circuit')).toEqual(['circuit open'])
  const { json } = await ask('/v1/traffic/events?service=checkout')
  const marks = json.events.filter(({ process }: { process: string | null }) => process !== null)
  expect(marks).toMatchObject([
    { kind: 'ejection', what: 'ejected', instance: '10.0.0.1:80', detail: 'errors', process: 'checkout p1' },
    { kind: 'circuit', service: 'inventory', from: 'checkout', before: 'closed', what: 'open', route: 'items' },
  ])
  const two = (await ask('/v1/traffic/events?limit=2')).json
  expect([two.events.length, two.left > 0]).toEqual([2, true])
  const last = two.events[0].at
  expect((await ask(`/v1/traffic/events?since=${last + 60_000}`)).json.events).toEqual([])
})

test('names of members that every object has are names like others', async () => {
  const session = await open('constructor', '__proto__')
  for (const name of ['constructor', 'toString', '__proto__']) {
    const mark = { at: 0, to: 'constructor', what: name.replaceAll('_', ''), now: 'valueOf' }
    const names = { route: name, version: name, zone: name }
    report(session, [{ to: 'constructor', protocol: 'http', method: 'GET', ...names, calls: 10 }], [mark])
    await settle()
  }
  const { edges } = (await ask('/v1/traffic/graph?window=5m')).json
  expect(edges).toMatchObject([{ from: 'constructor', to: 'constructor', calls: 30 }])
  expect(Object.keys(edges[0].versions).sort()).toEqual(['__proto__', 'constructor', 'toString'])
  const { routes } = (await ask('/v1/traffic/routes?service=constructor&window=5m')).json
  expect(routes.map(({ route }: { route: string }) => route).sort()).toEqual(['__proto__', 'constructor', 'toString'])
  const { events } = (await ask('/v1/traffic/events?kind=change')).json
  expect(events.map(({ what, process }: { what: string; process: string }) => [what, process])).toEqual(
    Array(3).fill(['valueOf', 'constructor __proto__']),
  )
  expect(Object.keys(Object.prototype)).toEqual([])
})

describe('who asks', () => {
  const PATHS = ['graph', 'series?service=a', 'routes?service=a', 'instances?service=a', 'events', 'stream']

  test('is an operator, also one who may only read, and never a process', async () => {
    const credentials = await join(registry, 'checkout')
    const made = await request(registry, 'POST', '/v1/operators', {
      admin: true,
      body: { name: 'eve', access: 'read' },
    })
    const headers = { authorization: `Bearer ${made.json.token}` }
    for (const path of PATHS) {
      expect((await request(registry, 'GET', `/v1/traffic/${path}`)).status).toBe(403)
      expect((await request(registry, 'GET', `/v1/traffic/${path}`, { credentials })).json.error.code).toBe(
        'admin-required',
      )
      if (path === 'stream') continue
      expect((await request(registry, 'GET', `/v1/traffic/${path}`, { headers })).status).not.toBe(403)
    }
  })

  test('of another registry has to be one', async () => {
    const credentials = await join(registry, 'checkout')
    const path = '/v1/traffic/local?kind=marks'
    for (const options of [{ admin: true }, { credentials }, {}]) {
      expect((await request(registry, 'GET', path, options)).json.error.code).toBe('identity-required')
    }
  })

  test.each([
    ['graph?window=1s', /query: window: expected a duration from 5s to 1h/],
    ['graph?window=2h', /window/],
    ['graph?at=yesterday', /at: expected an instant in ms/],
    ['graph?windows=60s', /windows: unknown key; did you mean 'window'|windows: unknown key/],
    ['graph?window=60s&window=10s', /window: is there twice/],
    ['graph?local=yes', /local: expected one of/],
    ['series', /service: expected 'service', or 'from' and 'to'/],
    ['series?service=a&to=b', /service/],
    ['series?service=A', /service: expected a service name/],
    ['routes', /service: is missing/],
    ['instances?service=a&window=60s', /window: unknown key/],
    ['events?kind=none', /kind: expected one of 'circuit'/],
    ['events?limit=5000', /limit: expected a whole number up to 1000/],
    ['stream?window=1h', /window: expected a duration from 5s to 15m/],
  ])('gets one clear error for %s', async (path, message) => {
    const { status, json } = await ask(`/v1/traffic/${path}`)
    expect([status, json.error.code]).toEqual([400, 'invalid-request'])
    expect(json.error.message).toMatch(message)
  })
})

describe('a stream of the graph', () => {
  interface Open {
    readonly status: number
    readonly text: () => string
    readonly ended: Promise<void>
    close(): void
  }

  function stream(token: string | undefined): Promise<Open> {
    return new Promise((resolve, reject) => {
      const outgoing = https.request(new URL('/v1/traffic/stream?window=60s', registry.url), {
        ca: [...registry.roots],
        servername: 'localhost',
        agent: false,
        headers: { authorization: `Bearer ${token}` },
      })
      outgoing.on('error', reject)
      outgoing.on('response', (response) => {
        let text = ''
        response.on('data', (part: Buffer) => (text += part.toString()))
        response.on('error', () => {})
        const ended = new Promise<void>((done) => response.once('close', done))
        resolve({ status: response.statusCode!, text: () => text, ended, close: () => outgoing.destroy() })
      })
      outgoing.end()
    })
  }

  test('begins with the graph as it is', async () => {
    report(await open('checkout'), [CALLS])
    await settle()
    const open1 = await stream(registry.adminToken)
    await expect.poll(() => open1.text()).toMatch(/\n\n$/)
    const [, event, data] = /^event: (\w+)\ndata: (.*)\n\n/.exec(open1.text())!
    expect([event, JSON.parse(data!).edges[0].to]).toEqual(['graph', 'inventory'])
    open1.close()
  })

  test('ends with the token of its operator', async () => {
    const made = await request(registry, 'POST', '/v1/operators', {
      admin: true,
      body: { name: 'eve', access: 'read' },
    })
    const [mine, hers] = [await stream(registry.adminToken), await stream(made.json.token)]
    await request(registry, 'DELETE', `/v1/operators/${made.json.id}`, { admin: true })
    await hers.ended
    expect((await ask('/v1/traffic/graph')).status).toBe(200)
    mine.close()
  })

  test('is one of twenty for each operator', async () => {
    const streams = await Promise.all(Array.from({ length: 21 }, () => stream(registry.adminToken)))
    expect(streams.filter(({ status }) => status === 200)).toHaveLength(20)
    expect(streams.filter(({ status }) => status === 503)).toHaveLength(1)
    for (const one of streams) one.close()
    await expect
      .poll(async () => {
        const one = await stream(registry.adminToken)
        one.close()
        return one.status
      })
      .toBe(200)
  })
})
