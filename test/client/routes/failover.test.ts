/** Failover between zones, regions, subsets and services, on real sockets, in HTTP and gRPC. */
import { describe, expect, it } from 'vitest'
import type { Mesh } from '../../../src/index.ts'
import type { TestMemberOptions } from '../../../src/testing/index.ts'
import { Gate } from '../../rigs/gate.ts'
import { Shop, shopServer } from '../../rigs/shop.ts'
import { opened } from '../http/opened.ts'
import { count, type Protocol, type RoutedMesh, routedMesh } from './rig.ts'

const PROTOCOLS: readonly Protocol[] = ['http', 'grpc']
/** Get may be repeated. Attempts are quick, and what is out is probed soon. */
const POLICY = {
  timeout: '10s',
  retry: { idempotent: ['shop.Inventory/Get'], attempts: 3 },
  ejection: { baseTime: '100ms', maxTime: '200ms' },
}
const ZONES = [{ zone: 'same' }, { zone: 'any' }]

/** An instance behind a gate, so that a test can cut the way to it while the registry lists it. */
async function gated(
  rig: RoutedMesh,
  protocol: Protocol,
  service: string,
  name: string,
  member: TestMemberOptions = {},
): Promise<Gate> {
  const mesh = await rig.test.join(service, member)
  const target = { host: '127.0.0.2', port: 0 }
  const gate = opened(await Gate.open(target))
  target.port = gate.port
  const at = { host: target.host, port: gate.port, advertise: '127.0.0.1' }
  if (protocol === 'http') {
    await mesh.serve((_, response) => response.writeHead(200, { 'x-by': name }).end(name), at)
  } else await mesh.serveGrpc(shopServer({ Get: (_, done) => done(null, { sku: name }) }), at)
  return gate
}

/** Asks without a pause, `at once` at a time, until it is stopped. */
class Load {
  readonly #by: string[] = []
  readonly #failed: unknown[] = []
  readonly #workers: Promise<void>[]
  #stopped = false

  constructor(ask: () => Promise<string>, atOnce = 4) {
    this.#workers = Array.from({ length: atOnce }, async () => {
      while (!this.#stopped)
        await ask().then(
          (by) => this.#by.push(by),
          (error: unknown) => this.#failed.push(error),
        )
    })
  }

  get failed(): readonly unknown[] {
    return this.#failed
  }

  /** Until each of the next 50 answers, and 20 more, are by one of `names`. */
  async until(...names: readonly string[]): Promise<void> {
    for (;;) {
      const from = this.#by.length
      while (this.#by.length < from + 50) await new Promise((resolve) => setTimeout(resolve, 5))
      if (this.#by.slice(from).every((by) => names.includes(by))) return
    }
  }

  async stop(): Promise<Record<string, number>> {
    this.#stopped = true
    await Promise.all(this.#workers)
    return count(this.#by)
  }
}

function loadOf(rig: RoutedMesh, caller: Mesh, protocol: Protocol): Load {
  return new Load(async () => (await rig.ask(caller, protocol, 'inventory')).by)
}

describe.each(PROTOCOLS)('failover of %s calls', (protocol) => {
  it.each(['severed', 'silent'] as const)(
    'goes on in the next zone when the way to the first is %s, and comes back, without a failed call',
    { timeout: 120_000 },
    async (state) => {
      const rig = await routedMesh([{ service: 'inventory', ...POLICY, failover: ZONES }])
      const near = [
        await gated(rig, protocol, 'inventory', 'near-1', { zone: 'a' }),
        await gated(rig, protocol, 'inventory', 'near-2', { zone: 'a' }),
      ]
      await gated(rig, protocol, 'inventory', 'far', { zone: 'b' })
      const checkout = await rig.test.join('checkout', { zone: 'a' })
      const load = loadOf(rig, checkout, protocol)
      await load.until('near-1', 'near-2')
      for (const gate of near) gate.set(state)
      await load.until('far')
      for (const gate of near) gate.set('open')
      await load.until('near-1', 'near-2')
      await load.stop()
      expect(load.failed).toEqual([])
    },
  )

  it('goes on in another service while all instances leave, and comes back with the first', {
    timeout: 120_000,
  }, async () => {
    const failover = [{ zone: 'any' }, { service: 'inventory-eu' }]
    const rig = await routedMesh([{ service: 'inventory', ...POLICY, failover }])
    const here = [await rig.instance('inventory', 'here-1'), await rig.instance('inventory', 'here-2')]
    await rig.instance('inventory-eu', 'eu')
    const checkout = await rig.test.join('checkout')
    const load = loadOf(rig, checkout, protocol)
    await load.until('here-1', 'here-2')
    await Promise.all(here.map((mesh) => mesh.close()))
    await load.until('eu')
    await rig.instance('inventory', 'here-3')
    await load.until('here-3')
    await load.stop()
    expect(load.failed).toEqual([])
  })

  it('goes on in another service whose only instance is the only one that can be reached', {
    timeout: 120_000,
  }, async () => {
    const failover = [{ service: 'inventory-eu' }]
    const rig = await routedMesh([{ service: 'inventory', ...POLICY, failover }])
    const gate = await gated(rig, protocol, 'inventory', 'here')
    await gated(rig, protocol, 'inventory-eu', 'eu')
    const checkout = await rig.test.join('checkout')
    const load = loadOf(rig, checkout, protocol)
    await load.until('here')
    gate.set('severed')
    await load.until('eu')
    gate.set('open')
    await load.until('here')
    await load.stop()
    expect(load.failed).toEqual([])
  })

  it('needs no endpoint of the service itself', async () => {
    const failover = [{ zone: 'any' }, { service: 'inventory-eu', subset: 'large' }]
    const eu = { service: 'inventory-eu', subsets: { large: { metadata: { size: 'l' } } } }
    const rig = await routedMesh([{ service: 'inventory', failover }, eu])
    await rig.instance('inventory-eu', 'small')
    await rig.instance('inventory-eu', 'large', { metadata: { size: 'l' } })
    const checkout = await rig.test.join('checkout')
    expect(count(await rig.tally(checkout, protocol, 'inventory', 10))).toEqual({ large: 10 })
  })

  it('waits for the first endpoint of any level', async () => {
    const failover = [{ zone: 'any' }, { service: 'inventory-eu' }]
    const rig = await routedMesh([{ service: 'inventory', failover }])
    const checkout = await rig.test.join('checkout')
    const eu = await rig.test.join('inventory-eu')
    const asked = rig.ask(checkout, protocol, 'inventory')
    await rig.serve(eu, 'eu')
    expect((await asked).by).toBe('eu')
  })

  it('prefers this region and what shares its metadata, and leaves the rest to `any`', async () => {
    const failover = [{ metadata: { rack: 'same' } }, { region: 'same' }, { region: 'any' }]
    const rig = await routedMesh([{ service: 'inventory', failover }])
    const place = (region: string, rack: string) => ({ metadata: { region, rack } })
    const instances = [
      ['rack', await rig.instance('inventory', 'rack', place('us', 'r1'))],
      ['region', await rig.instance('inventory', 'region', place('us', 'r2'))],
      ['rest', await rig.instance('inventory', 'rest', { metadata: { rack: 'r3' } })],
    ] as const
    const checkout = await rig.test.join('checkout', place('us', 'r1'))
    for (const [name, mesh] of instances) {
      expect(count(await rig.tally(checkout, protocol, 'inventory', 10))).toEqual({ [name]: 10 })
      if (name !== 'rest') await mesh.close()
    }
  })

  it('of a route is the route’s, and goes on from its target to another subset', async () => {
    const rig = await routedMesh([
      {
        service: 'inventory',
        failover: [{ zone: 'any' }],
        subsets: { green: { version: 'v2' }, blue: { version: 'v1' } },
        routes: [{ name: 'green-first', to: 'green', failover: [{ subset: 'blue' }] }],
      },
    ])
    const green = await rig.instance('inventory', 'green', { version: 'v2' })
    await rig.instance('inventory', 'blue', { version: 'v1' })
    await rig.instance('inventory', 'other', { version: 'v3' })
    const checkout = await rig.test.join('checkout')
    expect(count(await rig.tally(checkout, protocol, 'inventory', 10))).toEqual({ green: 10 })
    await green.close()
    expect(count(await rig.tally(checkout, protocol, 'inventory', 10))).toEqual({ blue: 10 })
  })

  it('keeps the attempts of a call in the first level until each of its endpoints was tried', async () => {
    const failover = [{ service: 'inventory-eu' }]
    const retry = { ...POLICY.retry, attempts: 4, backoff: { base: 1, max: 1 } }
    const rig = await routedMesh([{ service: 'inventory', ...POLICY, retry, failover }])
    for (const name of ['here-1', 'here-2']) {
      await rig.instance('inventory', name)
      rig.scripts.set(name, () => (protocol === 'http' ? 503 : 14))
    }
    await rig.instance('inventory-eu', 'eu')
    const checkout = await rig.test.join('checkout')
    expect((await rig.ask(checkout, protocol, 'inventory')).by).toBe('eu')
    expect(rig.seen.map(({ by }) => by).toSorted()).toEqual(['eu', 'here-1', 'here-2'])
  })

  it('leaves a service whose instances all fail, by the ejection of each', async () => {
    const failover = [{ service: 'inventory-eu' }]
    const ejection = { baseTime: '10s', maxTime: '10s' }
    const rig = await routedMesh([{ service: 'inventory', ...POLICY, ejection, failover }])
    for (const name of ['here-1', 'here-2']) {
      await rig.instance('inventory', name)
      rig.scripts.set(name, () => (protocol === 'http' ? 500 : 13))
    }
    await rig.instance('inventory-eu', 'eu')
    const checkout = await rig.test.join('checkout')
    const answers = await Promise.allSettled(Array.from({ length: 15 }, () => rig.ask(checkout, protocol, 'inventory')))
    expect(answers.length).toBe(15)
    // Shares are computed anew every 100 ms.
    const load = loadOf(rig, checkout, protocol)
    await load.until('eu')
    await load.stop()
  })
})

it('a stream and an upload go to the level in use', async () => {
  const rig = await routedMesh([{ service: 'inventory', failover: [{ service: 'inventory-eu' }] }])
  const mesh = await rig.test.join('inventory-eu')
  await mesh.serve((request, response) => {
    request.pipe(response)
  })
  await mesh.serveGrpc(
    shopServer({
      Watch: (call) => {
        for (const left of [1, 2, 3]) call.write({ left })
        call.end()
      },
    }),
  )
  const checkout = await rig.test.join('checkout')
  const response = await checkout.http('inventory').request('POST', '/echo', { body: 'all of it' })
  expect(await response.text()).toBe('all of it')
  const watched: unknown[] = []
  const shop = checkout.grpc(Shop, 'inventory')
  for await (const stock of shop.watch({ sku: 'a' })) watched.push(stock)
  expect(watched).toHaveLength(3)
})
