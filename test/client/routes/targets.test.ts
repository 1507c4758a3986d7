/** Where calls go: to subsets, to other services, by weight and by key, alike in HTTP and gRPC. */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { LONGEST_WAIT_MS } from '../../../src/client/await-endpoint.ts'
import { Shop, type ShopClient } from '../../rigs/shop.ts'
import { until } from '../http/rig.ts'
import { count, type Protocol, type RoutedMesh, routedMesh } from './rig.ts'

const SUBSETS = { blue: { version: 'v1' }, green: { version: 'v2', metadata: { track: 'next' } } }
const HALVES = [
  { to: 'blue', weight: 1 },
  { to: 'green', weight: 1 },
]

async function blueAndGreen(routes: readonly unknown[], more: object = {}): Promise<RoutedMesh> {
  const rig = await routedMesh([{ service: 'inventory', subsets: SUBSETS, routes, ...more }])
  await rig.instance('inventory', 'one', { version: 'v1' })
  await rig.instance('inventory', 'two', { version: 'v2', metadata: { track: 'next' } })
  return rig
}

describe.each<Protocol>(['http', 'grpc'])('a route of %s calls', (protocol) => {
  it('leads to the instances of a subset, and calls that it does not match to all', async () => {
    const routes = [{ name: 'beta', match: [{ headers: { 'x-beta': '1' } }], to: 'green' }]
    const rig = await blueAndGreen(routes, { balancer: 'round-robin' })
    await rig.instance('inventory', 'other', { version: 'v2' })
    const checkout = await rig.test.join('checkout')
    const beta = { headers: { 'x-beta': '1' } }
    expect(count(await rig.tally(checkout, protocol, 'inventory', 6, beta))).toEqual({ two: 6 })
    expect(count(await rig.tally(checkout, protocol, 'inventory', 6))).toEqual({ one: 2, two: 2, other: 2 })
  })

  it('matches `host` by the name of the called service', async () => {
    const routes = [
      { name: 'never', match: [{ headers: { host: 'shop.example' } }], to: 'blue' },
      { name: 'named', match: [{ headers: { host: 'inventory' } }], to: 'green' },
      { name: 'rest', to: 'blue' },
    ]
    const rig = await blueAndGreen(routes)
    const checkout = await rig.test.join('checkout')
    expect((await rig.ask(checkout, protocol, 'inventory')).by).toBe('two')
    const { route } = await checkout.explain({
      service: 'inventory',
      ...(protocol === 'grpc' && { grpc: 'shop.Shop/Get' }),
    })
    expect(route).toBe('named')
  })

  it('leads to another service, whose certificate is that of the owner; the host stays', async () => {
    const routes = [{ name: 'quotes', to: { service: 'inventory-eu' } }]
    const rig = await routedMesh([{ service: 'inventory', routes }])
    await rig.instance('inventory', 'here')
    await rig.instance('inventory-eu', 'there')
    const checkout = await rig.test.join('checkout')
    expect((await rig.ask(checkout, protocol, 'inventory')).by).toBe('there')
    expect(rig.seen.at(-1)?.host).toBe('inventory')
  })

  it('leads to a subset of another service, which that service defines', async () => {
    const routes = [{ name: 'all', to: { service: 'inventory-eu', subset: 'new' } }]
    const eu = { service: 'inventory-eu', subsets: { new: { version: 'v2' } } }
    const rig = await routedMesh([{ service: 'inventory', routes }, eu])
    await rig.instance('inventory-eu', 'old', { version: 'v1' })
    await rig.instance('inventory-eu', 'new', { version: 'v2' })
    const checkout = await rig.test.join('checkout')
    expect(count(await rig.tally(checkout, protocol, 'inventory', 6))).toEqual({ new: 6 })
    await rig.test.apply([{ ...eu, subsets: { new: { version: 'v1' } } }])
    expect(count(await rig.tally(checkout, protocol, 'inventory', 6))).toEqual({ old: 6 })
  })

  it('never takes the routes of the service to which it leads: two may point at each other', async () => {
    const rig = await routedMesh([{ service: 'a', routes: [{ name: 'to-b', to: { service: 'b' } }] }])
    await rig.instance('a', 'of-a')
    await rig.instance('b', 'of-b')
    const checkout = await rig.test.join('checkout')
    expect((await rig.ask(checkout, protocol, 'a')).by).toBe('of-b')
  })

  it('to a service that does not exist ends as a call to it would', async () => {
    const rig = await routedMesh([{ service: 'inventory', routes: [{ name: 'all', to: { service: 'nobody' } }] }])
    await rig.instance('inventory', 'here')
    const checkout = await rig.test.join('checkout')
    const began = performance.now()
    const code = protocol === 'http' ? 'no-endpoints' : 14
    await expect(rig.ask(checkout, protocol, 'inventory')).rejects.toMatchObject({ code })
    expect(performance.now() - began).toBeGreaterThan(LONGEST_WAIT_MS - 100)
    await rig.instance('nobody', 'late')
    expect((await rig.ask(checkout, protocol, 'inventory')).by).toBe('late')
  })

  it('splits by weight, exactly, and goes on over a change of weights', async () => {
    const document = (blue: number, green: number): object => {
      const split = [
        { to: 'blue', weight: blue },
        { to: 'green', weight: green },
      ]
      return { service: 'inventory', subsets: SUBSETS, routes: [{ name: 'all', split }] }
    }
    const rig = await blueAndGreen([{ name: 'all', split: HALVES }])
    const checkout = await rig.test.join('checkout')
    await rig.test.apply([document(3, 1)])
    expect(count(await rig.tally(checkout, protocol, 'inventory', 40))).toEqual({ one: 30, two: 10 })
    await rig.test.apply([document(0, 1)])
    expect(count(await rig.tally(checkout, protocol, 'inventory', 10))).toEqual({ two: 10 })
  })

  it('keeps a key on one side of the split, and splits what has no key', async () => {
    const rig = await blueAndGreen([{ name: 'all', split: HALVES, sticky: { header: 'x-user' } }])
    const checkout = await rig.test.join('checkout')
    const sides: string[] = []
    for (let user = 0; user < 20; user++) {
      const by = count(await rig.tally(checkout, protocol, 'inventory', 3, { headers: { 'x-user': `u${user}` } }))
      expect(Object.values(by)).toEqual([3])
      sides.push(Object.keys(by)[0]!)
    }
    expect(new Set(sides).size).toBe(2)
    expect(count(await rig.tally(checkout, protocol, 'inventory', 10))).toEqual({ one: 5, two: 5 })
  })

  it('waits for the first instance of its target', async () => {
    const rig = await routedMesh([{ service: 'inventory', subsets: SUBSETS, routes: [{ name: 'all', to: 'green' }] }])
    await rig.instance('inventory', 'one', { version: 'v1' })
    const checkout = await rig.test.join('checkout')
    const two = await rig.test.join('inventory', { version: 'v2', metadata: { track: 'next' } })
    const asked = rig.ask(checkout, protocol, 'inventory')
    await rig.serve(two, 'two')
    expect((await asked).by).toBe('two')
  })
})

describe('a split of HTTP calls', () => {
  it.each([
    ['cookie', { cookie: 'user' }, (user: string) => ({ headers: { cookie: `a=b; user=${user}; c=d` } })],
    ['query', { query: 'user' }, (user: string) => ({ path: `/items?a=b&user=${user}` })],
  ])('is sticky by %s', async (_from, sticky, ask) => {
    const rig = await blueAndGreen([{ name: 'all', split: HALVES, sticky }])
    const checkout = await rig.test.join('checkout')
    const sides = new Set<string>()
    for (let user = 0; user < 12; user++) {
      const by = count(await rig.tally(checkout, 'http', 'inventory', 2, ask(`u${user}`)))
      expect(Object.values(by)).toEqual([2])
      for (const side of Object.keys(by)) sides.add(side)
    }
    expect(sides.size).toBe(2)
  })

  it('counts each call once, by every door, with filters and shared exchanges', async () => {
    const rig = await blueAndGreen([{ name: 'all', split: HALVES }])
    const checkout = await rig.test.join('checkout')
    const dispatcher = checkout.dispatcher()
    const filtered = checkout.http('inventory', { filters: [(request, call, next) => next(request, call)] })
    const shared = checkout.http('inventory', { collapse: true })
    const doors: (() => Promise<string>)[] = [
      async () => (await filtered.get('/items')).text(),
      async () => (await shared.get('/items')).text(),
      async () => (await checkout.fetch('http://inventory/items')).text(),
      async () => (await fetch('http://inventory.mesh/items', { dispatcher } as never)).text(),
    ]
    for (const door of doors) {
      const by: string[] = []
      for (let i = 0; i < 10; i++) by.push(await door())
      expect(count(by)).toEqual({ one: 5, two: 5 })
    }
  })

  it('shows filters the route that was chosen, once the call is sent', async () => {
    const rig = await blueAndGreen([{ name: 'all', to: 'green' }])
    const checkout = await rig.test.join('checkout')
    const routes: (string | undefined)[] = []
    const filtered = checkout.http('inventory', {
      filters: [
        async (request, call, next) => {
          routes.push(call.routed?.name)
          const response = await next(request, call)
          routes.push(call.routed?.name)
          return response
        },
      ],
    })
    expect(await (await filtered.get('/items')).text()).toBe('two')
    expect(routes).toEqual([undefined, 'all'])
  })
})

describe('a gRPC client', () => {
  const beta = (): grpc.Metadata => {
    const metadata = new grpc.Metadata()
    metadata.set('x-beta', '1')
    return metadata
  }
  const routes = [{ name: 'beta', match: [{ headers: { 'x-beta': '1' } }], to: 'green', timeout: '1s' }]

  it('routes streams, whose answers outlast the timeout of the route', async () => {
    const rig = await blueAndGreen(routes)
    const checkout = await rig.test.join('checkout')
    const shop = checkout.grpc(Shop, 'inventory') as unknown as ShopClient
    // Its connection may take longer to make than an answer may.
    const warm = { headers: { 'x-beta': '1' } }
    await until(() => rig.ask(checkout, 'grpc', 'inventory', warm).then(Boolean, () => false))
    const from: (string | undefined)[] = []
    for await (const stock of shop.watch({ sku: 'a' }, beta())) from.push((stock as { sku?: string }).sku)
    expect(from).toEqual(['two', 'two'])
  })

  it('routes by the metadata that its interceptors leave, whenever they are known', async () => {
    const rig = await blueAndGreen(routes.map((route) => ({ ...route, timeout: '20s' })))
    const checkout = await rig.test.join('checkout')
    const shop = checkout.grpc(Shop, 'inventory') as unknown as ShopClient
    const late: grpc.Interceptor = (options, next) =>
      new grpc.InterceptingCall(next(options), {
        start: (metadata, listener, go) => {
          metadata.merge(beta())
          setTimeout(() => go(metadata, listener), 30)
        },
      })
    const by = new Promise((resolve, reject) => {
      shop.get({ sku: 'a' }, new grpc.Metadata(), { interceptors: [late] }, (error, stock) =>
        error === null ? resolve(stock?.sku) : reject(error),
      )
    })
    expect(await by).toBe('two')
  })

  it('is ready when a service to which a route leads has instances', async () => {
    const routes = [{ name: 'all', to: { service: 'inventory-eu' } }]
    const rig = await routedMesh([{ service: 'inventory', routes }])
    const checkout = await rig.test.join('checkout')
    const shop = checkout.grpc(Shop, 'inventory') as unknown as ShopClient
    const ready = new Promise<Error | undefined>((resolve) => shop.waitForReady(Date.now() + 30_000, resolve))
    await rig.instance('inventory-eu', 'there')
    expect(await ready).toBeUndefined()
    expect((await rig.ask(checkout, 'grpc', 'inventory')).by).toBe('there')
  })
})
