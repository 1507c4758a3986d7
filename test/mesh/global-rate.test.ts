/** A rate of a whole service, on real sockets, with registries that die. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import type { Mesh } from '../../src/index.ts'
import { countOf, eventually, Rig, wait } from '../end-to-end/rig.ts'
import { TestFleet } from '../rigs/fleet.ts'
import { Shop, shopServer } from '../rigs/shop.ts'

const RATE = 50
const LEASE_MS = 2_000

let rig: Rig
let fleet: TestFleet

beforeEach(() => {
  rig = new Rig()
  fleet = new TestFleet({ lease: LEASE_MS })
})

afterEach(async () => {
  await rig.close()
  await fleet.close()
})

/** Refusals and retries are the subject of other tests: each call is one attempt here. */
const PLAIN = {
  balancer: 'round-robin',
  retry: { attempts: 1 },
  throttle: false,
  circuitBreaker: false,
  ejection: false,
} as const

/** The processes of a service, and how many requests they have handled. */
class Served {
  handled = 0
  readonly meshes: Mesh[] = []

  async join(registry: string | readonly string[]): Promise<Mesh> {
    const mesh = await rig.join({ service: 'inventory', registry: registry as string })
    await mesh.serve(
      (_req, res) => {
        this.handled += 1
        res.end('ok')
      },
      { host: '127.0.0.1' },
    )
    this.meshes.push(mesh)
    return mesh
  }
}

/** Calls much more often than the rate allows, until it is stopped. */
class Pressure {
  #stopped = false
  readonly #workers: Promise<void>[] = []
  readonly statuses = new Map<number, number>()

  constructor(caller: Mesh) {
    const inventory = caller.http('inventory')
    const work = async (): Promise<void> => {
      while (!this.#stopped) {
        const response = await inventory.get('/', { retry: false })
        this.statuses.set(response.status, (this.statuses.get(response.status) ?? 0) + 1)
        await response.text()
        await wait(10)
      }
    }
    for (let i = 0; i < 8; i++) this.#workers.push(work())
    rig.onClose(() => this.stop())
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#workers)
  }
}

/** What is handled per second, of the rate. */
async function handledShare(served: Served, ms: number): Promise<number> {
  const [before, begin] = [served.handled, performance.now()]
  await wait(ms)
  return ((served.handled - before) / (performance.now() - begin)) * (1_000 / RATE)
}

/** Measures once more where the machine stood still meanwhile: then no call came, either. */
async function expectRate(served: Served, ms: number): Promise<void> {
  for (let i = 0; i < 5; i++) {
    const begin = systemClock.now()
    systemClock.stalledMsSince(begin)
    const share = await handledShare(served, ms)
    expect(share).toBeLessThan(1.2)
    if (share < 0.7 && systemClock.stalledMsSince(begin) > ms / 10) continue
    expect(share).toBeGreaterThan(0.7)
    return
  }
}

const isLeased = (mesh: Mesh): boolean => /inmesh_server_global_rate_leased\{[^}]*\} 1\n/.test(mesh.metrics())
const shareOf = (mesh: Mesh): number =>
  Number(/inmesh_server_global_rate_share\{[^}]*\} (\S+)\n/.exec(mesh.metrics())?.[1])

test('the processes of several registries admit the rate together', async () => {
  const [first, second] = [await fleet.start(), await fleet.start()]
  await first.registry.applyPolicies([{ service: 'inventory', ...PLAIN, limits: { global: { rate: RATE } } }])
  const served = new Served()
  for (let i = 0; i < 4; i++) await served.join([first, second][i % 2]!.registry.url)
  await eventually('all have a share', () => served.meshes.every(isLeased))
  const caller = await rig.join({ service: 'checkout', registry: first.registry.url })
  await eventually('the caller knows all', async () => (await caller.http('inventory').get('/')).ok)
  const pressure = new Pressure(caller)
  await wait(1_000)
  await expectRate(served, 3_000)
  expect(pressure.statuses.get(429)).toBeGreaterThan(0)
  expect([...pressure.statuses.keys()].sort()).toEqual([200, 429])
  await pressure.stop()
})

test('without a registry each process keeps its share for its lease, and then takes an equal one', async () => {
  const registry = await rig.registry({ memory: true, dev: true, lease: 2 * LEASE_MS })
  await registry.applyPolicies([{ service: 'inventory', ...PLAIN, limits: { global: { rate: RATE } } }])
  const served = new Served()
  for (let i = 0; i < 4; i++) await served.join(registry.url)
  const caller = await rig.join({ service: 'checkout', registry: registry.url })
  await eventually('all have a share', () => served.meshes.every(isLeased))
  await eventually('the caller knows all', async () => (await caller.http('inventory').get('/')).ok)
  const pressure = new Pressure(caller)
  await wait(1_000)
  await registry.close()
  expect(served.meshes.some(isLeased)).toBe(true)
  await eventually('the leases have ended', () => served.meshes.every((mesh) => countOf(mesh, 'quota:changed') >= 2))
  for (const mesh of served.meshes) expect(shareOf(mesh)).toBeCloseTo(RATE / 4)
  await expectRate(served, 2_000)
  await pressure.stop()
})

test('when one of the registries is killed, the shares of its processes go along to the other', async () => {
  const [first, second] = [await fleet.start(), await fleet.start()]
  await first.registry.applyPolicies([{ service: 'inventory', ...PLAIN, limits: { global: { rate: RATE } } }])
  const urls = [first.registry.url, second.registry.url]
  const served = new Served()
  for (let i = 0; i < 4; i++) await served.join(urls)
  const caller = await rig.join({ service: 'checkout', registry: urls })
  await eventually('the caller knows all', async () => (await caller.http('inventory').get('/')).ok)
  const pressure = new Pressure(caller)
  await wait(1_500)
  const killed = fleet.kill(first)
  await expectRate(served, 4_000)
  await killed
  await eventually('all have a share', () => served.meshes.every(isLeased))
  await pressure.stop()
})

test('the share of a process that leaves is given on at once, and a new limit is in force without a restart', async () => {
  const { registry } = await fleet.start()
  const apply = (limits: object): Promise<unknown> =>
    registry.applyPolicies([{ service: 'inventory', ...PLAIN, limits }])
  await apply({ global: { rate: RATE } })
  const served = new Served()
  const [stays, leaves] = [await served.join(registry.url), await served.join(registry.url)]
  await eventually('both have half', () => [stays, leaves].every((mesh) => Math.abs(shareOf(mesh) - RATE / 2) < 1))
  await leaves.close()
  await eventually('the other has all of it', () => shareOf(stays) > RATE * 0.95)
  await apply({ global: { rate: RATE / 2 } })
  await eventually('the smaller limit is in force', () => Math.abs(shareOf(stays) - RATE / 2) < 1)
  await apply({})
  await eventually('there is no limit', () => Number.isNaN(shareOf(stays)))
  const caller = await rig.join({ service: 'checkout', registry: registry.url })
  for (let i = 0; i < RATE; i++) expect((await caller.http('inventory').get('/', { retry: false })).status).toBe(200)
})

test('what is refused is told apart from other limits, and only its caller is refused', async () => {
  const registry = await rig.registry({ memory: true, dev: true })
  const document = (limits: object) => ({ service: 'inventory', ...PLAIN, limits })
  await registry.applyPolicies([document({ rate: 10_000, global: { rate: 0.001, by: ['caller'] } })])
  const server = await new Served().join(registry.url)
  await server.serveGrpc(shopServer({ Get: (_call, answer) => answer(null, { sku: 'a' }) }), { host: '127.0.0.1' })
  await eventually('it has a share', () => isLeased(server))
  const [checkout, audit] = [
    await rig.join({ service: 'checkout', registry: registry.url }),
    await rig.join({ service: 'audit', registry: registry.url }),
  ]
  const inventory = checkout.http('inventory')
  const answers = []
  for (let i = 0; i < 6; i++) answers.push(await inventory.get('/', { retry: false }))
  // The least burst is four requests.
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 429, 429])
  expect(Number(answers.at(-1)!.headers.get('retry-after'))).toBeGreaterThan(0)
  await expect(checkout.grpc(Shop, 'inventory').promises.get({ sku: 'a' }, { retry: false })).rejects.toMatchObject({
    code: 8,
    details: expect.stringContaining('global-rate-limited'),
  })
  expect((await audit.http('inventory').get('/', { retry: false })).status).toBe(200)
  expect(server.metrics()).toMatch(
    /inmesh_server_requests_total\{[^}]*peer="checkout"[^}]*code="global-rate-limited"[^}]*\} 2\n/,
  )
  expect(server.events().find(({ name }) => name === 'admission:refused')?.payload).toMatchObject({
    code: 'global-rate-limited',
    peer: 'checkout',
  })
})
