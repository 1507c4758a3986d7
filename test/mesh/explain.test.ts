/** What `mesh.explain` says of a request is what the request then does. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { Shop, shopServer } from '../rigs/shop.ts'

const INVENTORY = {
  service: 'inventory',
  timeout: '5s',
  subsets: { blue: { version: 'v1' }, green: { version: 'v2' } },
  routes: [
    { name: 'quotes', match: [{ grpc: 'shop.Inventory/Get', from: 'checkout' }], to: { service: 'inventory-eu' } },
    { name: 'beta', match: [{ headers: { 'x-beta': '1' } }], to: 'green', timeout: '2s' },
    {
      name: 'items',
      match: [{ method: 'GET', path: '/items/{id}' }],
      split: [
        { to: 'blue', weight: 50 },
        { to: 'green', weight: 50 },
      ],
      sticky: { header: 'x-user' },
    },
    { name: 'old', match: [{ path: { prefix: '/old' } }], redirect: { path: { prefix: '/new' } } },
    { name: 'eu', match: [{ path: '/eu' }], to: { service: 'inventory-eu' } },
  ],
}

let test: TestMesh
beforeEach(async () => {
  test = await startTestMesh({ policies: [INVENTORY] })
})
afterEach(() => test.close())

async function serve(service: string, name: string, version?: string): Promise<void> {
  await test.serve(service, (_req, res) => res.end(name), { member: version === undefined ? {} : { version } })
}

describe('mesh.explain', () => {
  it('names the route and the target that the call then takes', async () => {
    await serve('inventory', 'blue', 'v1')
    await serve('inventory', 'green', 'v2')
    await serve('inventory-eu', 'eu')
    const checkout = await test.join('checkout')
    const inventory = checkout.http('inventory')
    const sides = new Set<string>()
    for (let user = 0; user < 20; user++) {
      const headers = { 'X-User': String(user) }
      const { route, target } = await checkout.explain({ service: 'inventory', path: '/items/42?a=b', headers })
      expect(route).toBe('items')
      expect(await (await inventory.get('/items/42?a=b', { headers })).text()).toBe(target)
      sides.add(String(target))
    }
    expect([...sides].sort()).toEqual(['blue', 'green'])

    const beta = await checkout.explain({ service: 'inventory', headers: { 'x-beta': '1' } })
    expect(beta).toMatchObject({ route: 'beta', target: 'green', from: 'checkout' })
    expect(beta.targets[0]!.endpoints).toMatchObject([{ version: 'v2', state: 'healthy' }])
    expect(beta.policies).toContainEqual({ key: 'timeout', value: '2s', from: 'route' })

    const away = await checkout.explain({ service: 'inventory', path: '/eu' })
    expect(away.targets).toMatchObject([{ key: 'service:inventory-eu', endpoints: [{ state: 'healthy' }] }])
    expect(await (await inventory.get('/eu')).text()).toBe('eu')

    const old = await checkout.explain({ service: 'inventory', path: '/old/things?x' })
    expect(old).toMatchObject({ action: 'redirect', answer: { status: 302 }, targets: [] })
    const answer = await inventory.get('/old/things?x')
    expect([answer.status, answer.headers.get('location')]).toEqual([302, old.answer!.location])

    const rest = await checkout.explain({ service: 'inventory', path: '/items/42', method: 'POST' })
    expect(rest).toMatchObject({ route: null, target: '', action: 'send' })
    expect(rest.targets[0]!.endpoints).toHaveLength(2)
    expect(rest.routes.find(({ name }) => name === 'items')!.failed).toEqual([
      { match: 0, condition: 'method', expected: 'GET', seen: 'POST' },
    ])
  })

  it('takes overrides as the call takes them', async () => {
    await test.apply([{ ...INVENTORY, overrides: { from: ['checkout'] } }])
    await serve('inventory', 'blue', 'v1')
    await serve('inventory', 'green', 'v2')
    await serve('inventory-pr', 'pr')
    for (const [service, value, target, answer] of [
      ['checkout', 'inventory=green', 'green', 'green'],
      ['checkout', 'inventory=service:inventory-pr', 'service:inventory-pr', 'pr'],
      ['audit', 'inventory=service:inventory-pr', '', undefined],
    ] as const) {
      const mesh = await test.join(service)
      const headers = { 'x-inmesh-route': value }
      const explanation = await mesh.explain({ service: 'inventory', headers })
      expect(explanation.target).toBe(target)
      expect(explanation.override!.refused === null).toBe(answer !== undefined)
      const text = await (await mesh.http('inventory').get('/', { headers })).text()
      if (answer !== undefined) expect(text).toBe(answer)
      else expect(text).not.toBe('pr')
    }
  })

  it('says the same of gRPC calls, which the caller decides by its own name', async () => {
    const server = await test.join('inventory-eu')
    await server.serveGrpc(shopServer({ Get: (_call, answer) => answer(null, { sku: 'eu' }) }))
    const home = await test.join('inventory')
    await home.serveGrpc(shopServer({ Get: (_call, answer) => answer(null, { sku: 'home' }) }))
    for (const [service, target, sku] of [
      ['checkout', 'service:inventory-eu', 'eu'],
      ['audit', '', 'home'],
    ] as const) {
      const mesh = await test.join(service)
      const explanation = await mesh.explain({ service: 'inventory', grpc: 'shop.Inventory/Get' })
      expect(explanation).toMatchObject({ from: service, protocol: 'grpc', target })
      expect(explanation.targets[0]!.endpoints).toHaveLength(1)
      expect((await mesh.grpc(Shop, 'inventory').promises.get({ sku: 'a' })).sku).toBe(sku)
    }
  })

  it('shows the state of endpoints as this process sees it', async () => {
    await test.apply([{ service: 'inventory', ejection: { consecutiveFailures: 1, baseTime: '1m', maxTime: '1m' } }])
    await serve('inventory', 'good')
    await serve('inventory', 'other')
    const bad = await test.serve('inventory', (_req, res) => res.end('bad'))
    const checkout = await test.join('checkout')
    const states = async () => {
      const { targets } = await checkout.explain({ service: 'inventory' })
      return targets[0]!.endpoints.map(({ state }) => state).sort()
    }
    expect(await states()).toEqual(['healthy', 'healthy', 'healthy'])
    bad.faults.set({ status: 500 })
    const inventory = checkout.http('inventory')
    const isEjected = () => checkout.events().some(({ name }) => name === 'endpoint:ejected')
    for (let i = 0; i < 200 && !isEjected(); i++) await (await inventory.get('/')).text()
    expect(await states()).toEqual(['ejected', 'healthy', 'healthy'])
  })

  it('explains without sending, also for a service that was never called', async () => {
    let served = 0
    await test.serve('inventory', (_req, res) => {
      served += 1
      res.end()
    })
    const checkout = await test.join('checkout')
    const { targets } = await checkout.explain({ service: 'inventory' })
    expect(targets[0]!.endpoints).toHaveLength(1)
    expect(targets[0]!.intention).toMatchObject({ allowed: true })
    expect(served).toBe(0)
  })

  it.each([
    [{}, 'service: is missing'],
    [{ service: 'mesh' }, "service: expected the name of a service; 'mesh' is reserved"],
    [{ service: 'inventory', from: 'audit' }, 'from: unknown key'],
    [{ service: 'inventory', path: 'items' }, "path: expected a path that begins with '/'"],
    [
      { service: 'inventory', protocol: 'grpc' },
      "grpc: is missing; expected a gRPC method such as 'shop.Inventory/Quote'",
    ],
    [{ service: 'inventory', grpc: 'a.B/C', path: '/' }, "path: is of HTTP requests, and 'grpc' is given"],
    [{ service: 'inventory', grpc: 'a.B/C', protocol: 'http' }, "protocol: is 'http', which 'grpc' contradicts"],
  ])('refuses %j with a hint', async (options, hint) => {
    const checkout = await test.join('checkout')
    await expect(checkout.explain(options as never)).rejects.toThrow(hint)
  })
})
