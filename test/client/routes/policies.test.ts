/** The policies of a route: what it writes has separate state, all else is the service's. */
import { describe, expect, it } from 'vitest'
import { Shop, type ShopClient } from '../../rigs/shop.ts'
import { count, type Protocol, routedMesh } from './rig.ts'

/** Of HTTP, from either side; of gRPC. */
const LATE: unknown[] = ['deadline-exceeded', 'attempt-timeout', 504, 4]
const QUICK = { base: 1, max: 1 }
const SUBSETS = { blue: { version: 'v1' }, green: { version: 'v2' } }

describe.each<Protocol>(['http', 'grpc'])('the policy of a route of %s calls', (protocol) => {
  const failed = protocol === 'http' ? 503 : 14
  const ended = (asked: Promise<{ readonly status: number }>): Promise<unknown> =>
    asked.then(
      ({ status }) => status,
      (error: { code: unknown }) => error.code,
    )
  const slow = { headers: { 'x-slow': '1' } }

  it('has its timeout, which may be longer than that of the service', async () => {
    const routes = [{ name: 'slow', match: [{ headers: { 'x-slow': '1' } }], timeout: '10s' }]
    const rig = await routedMesh([{ service: 'inventory', timeout: '500ms', routes }])
    await rig.instance('inventory', 'one')
    rig.scripts.set('one', () => new Promise<number>((resolve) => setTimeout(resolve, 700, 0)))
    const checkout = await rig.test.join('checkout')
    expect(await ended(rig.ask(checkout, protocol, 'inventory', slow))).toBe(protocol === 'http' ? 200 : 0)
    expect(LATE).toContain(await ended(rig.ask(checkout, protocol, 'inventory')))
  })

  it('counts from the first call on, which began before the document was known', async () => {
    const routes = [{ name: 'all', timeout: '50ms', to: 'green' }]
    const rig = await routedMesh([{ service: 'inventory', subsets: SUBSETS, routes }])
    await rig.instance('inventory', 'two', { version: 'v2' })
    rig.scripts.set('two', () => new Promise<number>((resolve) => setTimeout(resolve, 500, 0)))
    const checkout = await rig.test.join('checkout')
    expect(LATE).toContain(await ended(rig.ask(checkout, protocol, 'inventory')))
    expect(checkout.metrics()).toMatch(/inmesh_client_requests_total\{[^}]*route="all",code="[a-z-]+"\} 1/)
    expect(checkout.metrics()).not.toMatch(/inmesh_client_requests_in_flight\{[^}]*\} [^0]/)
  })

  it('has a circuit of its own only if it writes one', async () => {
    const routes = [
      {
        name: 'own',
        match: [{ headers: { 'x-own': '1' } }],
        circuitBreaker: { minimumCalls: 5, errorThreshold: '50%' },
        to: 'green',
      },
      { name: 'shared', match: [{ headers: { 'x-shared': '1' } }], to: 'green' },
    ]
    const circuitBreaker = { minimumCalls: 10, errorThreshold: '50%' }
    const rig = await routedMesh([
      { service: 'inventory', subsets: SUBSETS, retry: { attempts: 1 }, throttle: false, circuitBreaker, routes },
    ])
    await rig.instance('inventory', 'one', { version: 'v1' })
    await rig.instance('inventory', 'two', { version: 'v2' })
    const checkout = await rig.test.join('checkout')
    rig.scripts.set('two', () => failed)
    const own = { headers: { 'x-own': '1' } }
    const shared = { headers: { 'x-shared': '1' } }
    for (let i = 0; i < 5; i++) expect(await ended(rig.ask(checkout, protocol, 'inventory', own))).toBe(failed)
    // Its own circuit is open, and the service's is closed.
    const open = protocol === 'http' ? 'circuit-open' : 14
    const seen = rig.seen.length
    expect(await ended(rig.ask(checkout, protocol, 'inventory', own))).toBe(open)
    expect(rig.seen.length).toBe(seen)
    expect(checkout.metrics()).toMatch(/inmesh_client_circuit_state\{[^}]*route="own"\} 2/)
    expect(checkout.circuits().map(({ name }) => name)).toContain('inventory/own')
    for (let i = 0; i < 10; i++) expect(await ended(rig.ask(checkout, protocol, 'inventory', shared))).toBe(failed)
    expect(rig.seen.length).toBe(seen + 10)
    // What the route did to the service's circuit, all calls of the service see.
    expect(await ended(rig.ask(checkout, protocol, 'inventory', shared))).toBe(open)
    expect(await ended(rig.ask(checkout, protocol, 'inventory'))).toBe(open)
  })

  it('keeps the state of a route whose name stays, and closes that of one that goes', async () => {
    const circuitBreaker = { minimumCalls: 5, errorThreshold: '50%', resetAfter: '1m' }
    const document = (routes: object[]): object => ({
      service: 'inventory',
      retry: { attempts: 1 },
      throttle: false,
      ejection: false,
      routes,
    })
    const rig = await routedMesh([document([{ name: 'own', circuitBreaker }])])
    await rig.instance('inventory', 'one')
    const checkout = await rig.test.join('checkout')
    rig.scripts.set('one', () => failed)
    for (let i = 0; i < 5; i++) expect(await ended(rig.ask(checkout, protocol, 'inventory'))).toBe(failed)
    const open = protocol === 'http' ? 'circuit-open' : 14
    const refused = async (): Promise<boolean> => {
      const seen = rig.seen.length
      expect(await ended(rig.ask(checkout, protocol, 'inventory'))).toBe(open)
      return rig.seen.length === seen
    }
    expect(await refused()).toBe(true)
    await rig.test.apply([
      document([
        { name: 'other', match: [{ headers: { 'x-no': '1' } }] },
        { name: 'own', circuitBreaker, timeout: '7s' },
      ]),
    ])
    expect(await refused()).toBe(true)
    await rig.test.apply([document([{ name: 'new', circuitBreaker }])])
    expect(await ended(rig.ask(checkout, protocol, 'inventory'))).toBe(failed)
    expect(checkout.circuits().map(({ name }) => name)).not.toContain('inventory/own')
    expect(checkout.metrics()).not.toContain('route="own"} 2')
    await rig.test.apply([{ service: 'inventory' }])
    expect(checkout.circuits().map(({ name }) => name)).toEqual(['inventory'])
  })

  it('tries again, and hedges, within its target', async () => {
    const routes = [{ name: 'all', to: 'green', retry: { attempts: 3, backoff: QUICK }, hedge: {} }]
    const rig = await routedMesh([{ service: 'inventory', subsets: SUBSETS, routes }])
    for (const name of ['one', 'two']) await rig.instance('inventory', name, { version: 'v1' })
    for (const name of ['three', 'four']) await rig.instance('inventory', name, { version: 'v2' })
    const checkout = await rig.test.join('checkout')
    let turn = 0
    for (const name of ['three', 'four']) rig.scripts.set(name, () => (turn++ % 2 === 0 ? failed : 0))
    for (let i = 0; i < 6; i++) {
      expect(await ended(rig.ask(checkout, protocol, 'inventory'))).toBe(protocol === 'http' ? 200 : 0)
    }
    const by = count(rig.seen.map((seen) => seen.by))
    expect(by).not.toHaveProperty('one')
    expect(by).not.toHaveProperty('two')
    expect(rig.seen).toHaveLength(12)
  })
})

it('documents that change under load fail no gRPC call, unary or streaming', async () => {
  const document = (i: number): object => {
    const split = [
      { to: 'blue', weight: i % 5 },
      { to: 'green', weight: 5 - (i % 5) },
    ]
    const route = { name: i % 3 === 0 ? 'all' : `all-${i}`, split, circuitBreaker: { minimumCalls: 10 + i } }
    return { service: 'inventory', subsets: SUBSETS, routes: i % 7 === 0 ? [] : [route] }
  }
  const rig = await routedMesh([document(1)])
  await rig.instance('inventory', 'one', { version: 'v1' })
  await rig.instance('inventory', 'two', { version: 'v2' })
  const checkout = await rig.test.join('checkout')
  const shop = checkout.grpc(Shop, 'inventory') as unknown as ShopClient
  const done = { yet: false }
  let calls = 0
  const unary = Array.from({ length: 4 }, async () => {
    for (; !done.yet; calls++) await rig.ask(checkout, 'grpc', 'inventory')
  })
  const streams = Array.from({ length: 4 }, async () => {
    while (!done.yet) {
      const from: unknown[] = []
      for await (const stock of shop.watch({ sku: 'a' })) from.push((stock as { sku?: string }).sku)
      expect([...new Set(from)]).toHaveLength(1)
    }
  })
  for (let i = 2; i < 60; i++) await rig.test.apply([document(i)])
  done.yet = true
  await Promise.all([...unary, ...streams])
  expect(calls).toBeGreaterThan(60)
  await rig.test.apply([{ service: 'inventory' }])
  expect(checkout.circuits().map(({ name }) => name)).toEqual(['inventory'])
  expect(checkout.metrics()).not.toMatch(/inmesh_client_requests_in_flight\{[^}]*\} [^0]/)
}, 120_000)
