/** Documents and endpoints that change under load: nothing fails, and nothing is left behind. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { queryObjects } from 'node:v8'
import { describe, expect, it } from 'vitest'
import { Destination } from '../../../src/client/destination.ts'
import { DoubtedEndpoints } from '../../../src/client/doubted-endpoints.ts'
import { HttpClient } from '../../../src/client/http/client.ts'
import { HttpTransport } from '../../../src/client/http/transport.ts'
import { ClusterView } from '../../../src/client/targets/cluster-view.ts'
import { RouteState } from '../../../src/client/targets/route-state.ts'
import { type Clock, systemClock, type Timer } from '../../../src/core/clock.ts'
import { SILENT } from '../../../src/core/telemetry.ts'
import { type PolicyDocument, resolvePolicy } from '../../../src/discovery/policy-document.ts'
import { HealthView } from '../../../src/resilience/health-view.ts'
import { instance } from '../../rigs/instance.ts'
import { opened } from '../http/opened.ts'
import { until } from '../http/rig.ts'

/** Knows how many timers run. */
class CountingClock implements Clock {
  readonly running = new Set<Timer>()
  readonly now = systemClock.now
  readonly wallNow = (): number => systemClock.wallNow()
  readonly random = (): number => systemClock.random()
  readonly stalledMsSince = (at: number): number => systemClock.stalledMsSince(at)

  startTimer<T>(ms: number, fire: (context: T) => void, context: T): Timer {
    const timer = systemClock.startTimer(
      ms,
      () => {
        this.running.delete(timer)
        fire(context)
      },
      undefined,
    )
    this.running.add(timer)
    return timer
  }

  startBackgroundTimer<T>(ms: number, fire: (context: T) => void, context: T): Timer {
    return systemClock.startBackgroundTimer(ms, fire, context)
  }

  stopTimer(timer: Timer): void {
    this.running.delete(timer)
    systemClock.stopTimer(timer)
  }
}

interface Told {
  readonly name: string
  readonly version: string
  readonly metadata?: Readonly<Record<string, string>>
}

/** Destinations over real servers, without a registry: each change is in force at once. */
class World {
  readonly clock = new CountingClock()
  readonly transport: HttpTransport
  readonly http: HttpClient
  /** The names of servers that were asked for their health. */
  readonly checked = new Set<string>()
  readonly #servers = new Map<string, Server>()
  readonly #services = new Map<string, Destination<HttpTransport>>()

  private constructor(transport: HttpTransport) {
    this.transport = transport
    this.http = new HttpClient(this.service('inventory'))
  }

  /** Closed after the test. */
  static async make(): Promise<World> {
    return opened(new World(await HttpTransport.create({ clock: systemClock })))
  }

  service(name: string): Destination<HttpTransport> {
    let found = this.#services.get(name)
    if (found === undefined) {
      found = new Destination(name, 'http', {
        clock: this.clock,
        telemetry: SILENT,
        events: { emit() {} },
        transport: this.transport,
        idempotent: new Set(['GET']),
        client: { id: 'client-1', zone: undefined },
        doubted: new DoubtedEndpoints(this.clock, true),
        caller: 'checkout',
        hold: (other) => {
          const owner = this.service(other)
          owner.holds += 1
          return { owner, release: () => void owner.holds-- }
        },
        successor: () => undefined,
      })
      this.#services.set(name, found)
    }
    return found
  }

  document(document: Omit<PolicyDocument, 'service'>, service = 'inventory'): void {
    this.service(service).configure(resolvePolicy(null, { service, ...document }))
  }

  async endpoints(service: string, ...told: readonly Told[]): Promise<void> {
    const instances = await Promise.all(
      told.map(async ({ name, version, metadata = {} }) => {
        let server = this.#servers.get(name)
        if (server === undefined) {
          server = createServer(({ url }, response) => {
            if (url === '/healthz') this.checked.add(name)
            response.end(name)
          })
          this.#servers.set(name, server)
          await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve))
        }
        const { port } = server.address() as AddressInfo
        return { ...instance(service, name, { port, tls: false }), version, metadata }
      }),
    )
    this.service(service).apply({ instances, intended: true, left: new Set(), frozen: false, stale: false })
  }

  async get(): Promise<string> {
    return (await this.http.get('/items/42')).text()
  }

  async close(): Promise<void> {
    for (const service of this.#services.values()) service.close(0)
    this.transport.close(0)
    for (const server of this.#servers.values()) {
      server.closeAllConnections()
      server.close()
    }
  }
}

const SUBSETS = { blue: { version: 'v1' }, green: { version: 'v2' } }
const one: Told = { name: 'one', version: 'v1' }
const two: Told = { name: 'two', version: 'v2' }

describe('a service whose document changes 1,000 times under load', () => {
  it('fails no call, and keeps no view, state, circuit or timer of what has gone', async () => {
    const world = await World.make()
    await world.endpoints('inventory', one, two)
    await world.endpoints('other', { name: 'three', version: 'v1' })
    world.document({ subsets: SUBSETS })
    await world.get()
    const kinds = [ClusterView, RouteState, HealthView] as const
    const counts = (): number[] => kinds.map((kind) => queryObjects(kind, { format: 'count' }) as unknown as number)
    const before = counts()
    const done = { yet: false }
    let calls = 0
    const load = Array.from({ length: 8 }, async () => {
      for (; !done.yet; calls++) expect(['one', 'two', 'three']).toContain(await world.get())
    })
    for (let i = 0; i < 1_000; i++) {
      const weight = i % 101
      const circuitBreaker = { minimumCalls: 10 + (i % 7) }
      const split = [
        { to: 'blue', weight },
        { to: 'green', weight: 101 - weight },
        { to: { service: 'other' }, weight: i % 3 },
      ]
      world.document({
        subsets: { ...SUBSETS, [`s${i}`]: { version: 'v1' } },
        routes: [
          { name: `r${i}`, match: [{ path: `/no/${i}` }], to: `s${i}`, circuitBreaker },
          i % 2 === 0 ? { name: 'all', split, circuitBreaker, balancer: 'round-robin' } : { name: `all-${i}`, split },
        ],
      } as Omit<PolicyDocument, 'service'>)
      if (i % 5 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    done.yet = true
    await Promise.all(load)
    expect(calls).toBeGreaterThan(50)
    expect(world.service('other').holds).toBe(1)
    world.document({})
    expect(await world.get()).toMatch(/one|two/)
    expect(world.service('other').holds).toBe(0)
    expect([...world.service('inventory').circuits()]).toHaveLength(1)
    expect([...world.service('inventory').readings()]).toHaveLength(1)
    expect(world.service('other').cluster.observed).toBe(false)
    // What other tests of the process have left may be collected meanwhile.
    for (const [i, count] of counts().entries()) expect(count).toBeLessThanOrEqual(before[i]!)
    expect(world.clock.running.size).toBe(0)
  }, 120_000)
})

describe('a subset', () => {
  it('empties and fills: calls wait for its next instance, and go to no other', async () => {
    const world = await World.make()
    world.document({ subsets: SUBSETS, routes: [{ name: 'all', to: 'green' }] })
    await world.endpoints('inventory', one, two)
    expect(await world.get()).toBe('two')
    for (let i = 0; i < 20; i++) {
      await world.endpoints('inventory', one)
      const waiting = [world.get(), world.get()]
      await new Promise((resolve) => setImmediate(resolve))
      await world.endpoints('inventory', one, two)
      expect(await Promise.all(waiting)).toEqual(['two', 'two'])
    }
    expect(world.clock.running.size).toBe(0)
  })

  it('follows an instance that changes its version or its metadata in place', async () => {
    const world = await World.make()
    world.document({
      subsets: { next: { metadata: { track: 'next' } }, ...SUBSETS },
      routes: [{ name: 'all', to: 'next' }],
    })
    await world.endpoints('inventory', one, two)
    const waiting = world.get()
    await world.endpoints('inventory', one, { ...two, metadata: { track: 'next' } })
    expect(await waiting).toBe('two')
    const { connections } = world.transport
    await world.endpoints('inventory', { ...one, metadata: { track: 'next' } }, two)
    expect(await world.get()).toBe('one')
    // Metadata are no address: its connection stays.
    await world.endpoints('inventory', one, { ...two, metadata: { track: 'next' } })
    expect(await world.get()).toBe('two')
    expect(world.transport.connections).toBe(connections + 1)
    world.document({ subsets: SUBSETS, routes: [{ name: 'all', to: 'green' }] })
    await world.endpoints('inventory', { ...one, version: 'v2' }, { ...two, version: 'v1' })
    expect(await world.get()).toBe('one')
  })

  it('whose instances all drain is used while no other is ready in it, whatever the others are', async () => {
    const world = await World.make()
    world.document({ subsets: SUBSETS, routes: [{ name: 'all', to: 'green' }] })
    await world.endpoints('inventory', one, two)
    const { endpoints } = world.service('inventory').cluster
    const instances = endpoints.map((endpoint) => ({
      ...endpoint,
      state: endpoint.version === 'v2' ? 'draining' : 'ready',
    }))
    world
      .service('inventory')
      .apply({ instances: instances as never, intended: true, left: new Set(), frozen: false, stale: false })
    expect(world.service('inventory').cluster.endpoints.map(({ version }) => version)).toEqual(['v1'])
    expect(await world.get()).toBe('two')
  })
})

it('instances of a subset are checked for their health, also if this client uses others for the rest', async () => {
  const world = await World.make()
  // By name and not by port: the one that this client uses is the same in each run.
  const named = (told: Told): Told => ({ ...told, metadata: { 'hash-key': told.name } })
  const others = Array.from({ length: 6 }, (_, i): Told => named({ name: `other-${i}`, version: 'v1' }))
  await world.endpoints('inventory', ...others, named(two))
  const document = {
    subset: { size: 1 },
    healthCheck: { path: '/healthz', interval: '500ms', timeout: '500ms' },
  } as const
  world.document({ ...document, subsets: SUBSETS, routes: [{ name: 'all', to: 'green' }] })
  const [own] = world.service('inventory').cluster.picker.inUse!
  expect(await world.get()).toBe('two')
  await until(() => world.checked.has('two'))
  expect([...world.checked].filter((name) => name !== 'two' && name !== own!.id)).toEqual([])
  world.document({ ...document, subsets: SUBSETS })
  expect(own!.id).not.toBe('two')
  // A probe may be on its way when the route goes.
  for (let round = 0; round < 2; round++) {
    world.checked.clear()
    await until(() => world.checked.has(own!.id))
  }
  expect(world.checked.has('two')).toBe(false)
})

describe('another service to which a route leads', () => {
  it('may vanish and come back; calls wait meanwhile', async () => {
    const world = await World.make()
    await world.endpoints('inventory', one)
    world.document({ routes: [{ name: 'all', to: { service: 'other' } }] })
    await world.endpoints('other', two)
    expect(await world.get()).toBe('two')
    await world.endpoints('other')
    const waiting = world.get()
    await new Promise((resolve) => setImmediate(resolve))
    await world.endpoints('other', two)
    expect(await waiting).toBe('two')
    // Neither is idle, though no call is made to the one, and the other has no instances.
    await world.endpoints('inventory')
    expect(world.service('other').busy).toBe(true)
    expect(world.service('inventory').served).toBe(true)
    world.document({})
    expect(world.service('other').busy).toBe(false)
    expect(world.service('inventory').served).toBe(false)
  })

  it('gives its own breaker to all that call it, by a route or not', async () => {
    const world = await World.make()
    const { circuit } = world.service('other').state
    await world.endpoints('inventory', one)
    world.document({ routes: [{ name: 'all', to: { service: 'other' } }] })
    await world.endpoints('other', two)
    expect(await world.get()).toBe('two')
    expect(circuit!.state).toBe('closed')
    world.document({ circuitBreaker: false }, 'other')
    expect(world.service('other').state.circuit).toBeUndefined()
    expect(await world.get()).toBe('two')
  })
})

it('close() ends calls that wait for a target, and leaves no timer', async () => {
  const world = await World.make()
  await world.endpoints('inventory', one)
  world.document({
    subsets: SUBSETS,
    routes: [
      { name: 'far', match: [{ path: '/far' }], to: { service: 'other' } },
      { name: 'slow', match: [{ path: '/slow' }], faults: [{ delay: '1m' }] },
      { name: 'all', to: 'green' },
    ],
  })
  const paths = ['/far', '/slow', '/all']
  const waiting = paths.map((path) =>
    world.http.get(path, { timeout: '2s' }).catch((error: { code: string }) => error.code),
  )
  await new Promise((resolve) => setImmediate(resolve))
  await world.close()
  for (const code of await Promise.all(waiting)) expect(['closed', 'no-endpoints', 'deadline-exceeded']).toContain(code)
  expect(world.clock.running.size).toBe(0)
})
