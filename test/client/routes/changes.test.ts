/** What routes change of requests and answers, and the answers that they give themselves. */
import { describe, expect, it } from 'vitest'
import type { MeshError } from '../../../src/index.ts'
import { failure } from '../http/opened.ts'
import { until } from '../http/rig.ts'
import { type Protocol, type RoutedMesh, routedMesh } from './rig.ts'

async function withRoutes(routes: readonly unknown[], more: object = {}): Promise<RoutedMesh> {
  const rig = await routedMesh([{ service: 'inventory', routes, ...more }])
  await rig.instance('inventory', 'here', { version: 'v1' })
  return rig
}

describe.each<Protocol>(['http', 'grpc'])('a route of %s calls', (protocol) => {
  it('sets, adds and removes headers of requests and of answers, once for each attempt', async () => {
    const headers = {
      request: { set: { 'x-set': 'new' }, add: { 'x-added': 'more' }, remove: ['x-gone'] },
      response: { set: { 'x-answered': 'by-route' }, remove: ['x-by'] },
    }
    const rig = await withRoutes([{ name: 'all', headers }], { retry: { attempts: 2, backoff: { base: 1, max: 1 } } })
    let failures = 1
    rig.scripts.set('here', () => (failures-- > 0 ? (protocol === 'http' ? 503 : 14) : 0))
    const checkout = await rig.test.join('checkout')
    const given = { 'x-set': 'old', 'x-gone': '1', 'x-kept': '1' }
    const answer = await rig.ask(checkout, protocol, 'inventory', { headers: given })
    expect(answer.headers.get('x-answered')).toBe('by-route')
    expect(answer.headers.has('x-by')).toBe(false)
    expect(rig.seen).toHaveLength(2)
    for (const seen of rig.seen) {
      expect(seen.headers).toMatchObject({ 'x-set': 'new', 'x-added': 'more', 'x-kept': '1' })
      expect(seen.headers).not.toHaveProperty('x-gone')
    }
  })

  it('gives a fixed answer without an attempt, which counts as a call and not in the breaker', async () => {
    const respond = { status: 503, grpcStatus: 'UNAVAILABLE', body: 'closed for today' }
    const circuitBreaker = { minimumCalls: 2, errorThreshold: '50%' }
    const rig = await withRoutes([{ name: 'closed', match: [{ headers: { 'x-closed': '1' } }], respond }], {
      circuitBreaker,
    })
    const checkout = await rig.test.join('checkout')
    for (let i = 0; i < 5; i++) {
      const asked = rig.ask(checkout, protocol, 'inventory', { headers: { 'x-closed': '1' } })
      if (protocol === 'http') expect(await asked).toMatchObject({ status: 503, by: '' })
      else
        await expect(asked).rejects.toMatchObject({ code: 14, details: 'closed for today', cause: { route: 'closed' } })
    }
    expect(rig.seen).toHaveLength(0)
    expect((await rig.ask(checkout, protocol, 'inventory')).by).toBe('here')
    const method = protocol === 'http' ? 'GET' : '/shop.Inventory/Get'
    const counted = `service="checkout",peer="inventory",method="${method}",route="closed",code="overloaded"`
    expect(checkout.metrics()).toContain(`inmesh_client_requests_total{${counted}} 5`)
  })

  it('refuses calls that no route matches, if the document says so', async () => {
    const rig = await withRoutes([{ name: 'some', match: [{ headers: { 'x-known': '1' } }] }], { unmatched: 'refuse' })
    const checkout = await rig.test.join('checkout')
    expect((await rig.ask(checkout, protocol, 'inventory', { headers: { 'x-known': '1' } })).by).toBe('here')
    const asked = rig.ask(checkout, protocol, 'inventory')
    if (protocol === 'http') expect(await asked).toMatchObject({ status: 404 })
    else await expect(asked).rejects.toMatchObject({ code: 12 })
    expect(rig.seen).toHaveLength(1)
  })

  it('fails at once what leads to a target that does not exist, and gives its share to no other', async () => {
    const split = [
      { to: 'blue', weight: 1 },
      { to: { service: 'nobody', missing: true }, weight: 1 },
    ]
    const rig = await withRoutes([{ name: 'all', split }], { subsets: { blue: { version: 'v1' } } })
    const checkout = await rig.test.join('checkout')
    const ended: unknown[] = []
    for (let i = 0; i < 10; i++) {
      const asked = rig.ask(checkout, protocol, 'inventory')
      ended.push(
        await asked.then(
          (got) => got.status,
          (error: { code: number }) => error.code,
        ),
      )
    }
    expect(ended.filter((status) => status === (protocol === 'http' ? 500 : 14))).toHaveLength(5)
    expect(rig.seen).toHaveLength(5)
  })

  it('injects faults in the caller: a delay, then a failure', async () => {
    const faults = [{ delay: '30ms', status: 503, headers: { 'x-faulty': '1' } }]
    const rig = await withRoutes([{ name: 'all', faults }])
    const checkout = await rig.test.join('checkout')
    const began = performance.now()
    const asked = rig.ask(checkout, protocol, 'inventory', { headers: { 'x-faulty': '1' } })
    if (protocol === 'http') expect(await asked).toMatchObject({ status: 503 })
    else await expect(asked).rejects.toMatchObject({ code: 14 })
    expect(performance.now() - began).toBeGreaterThan(25)
    expect(rig.seen).toHaveLength(0)
    expect((await rig.ask(checkout, protocol, 'inventory')).by).toBe('here')
  })

  it('injects only the delay of a fault whose status is of the other protocol', async () => {
    const faults = [{ delay: '20ms', grpcStatus: 'UNAVAILABLE' }]
    const rig = await withRoutes([{ name: 'all', faults }])
    const checkout = await rig.test.join('checkout')
    const asked = rig.ask(checkout, protocol, 'inventory')
    if (protocol === 'http') expect((await asked).by).toBe('here')
    else await expect(asked).rejects.toMatchObject({ code: 14 })
  })

  it('injects no fault into the calls of other services than it names', async () => {
    const rig = await withRoutes([{ name: 'all', faults: [{ status: 503, from: 'gateway' }] }])
    const checkout = await rig.test.join('checkout')
    expect((await rig.ask(checkout, protocol, 'inventory')).by).toBe('here')
    const asked = rig.ask(await rig.test.join('gateway'), protocol, 'inventory')
    if (protocol === 'http') expect(await asked).toMatchObject({ status: 503 })
    else await expect(asked).rejects.toMatchObject({ code: 14 })
    expect(rig.seen).toHaveLength(1)
  })

  it('bounds an injected delay by the deadline of the call', async () => {
    const rig = await withRoutes([{ name: 'all', timeout: '50ms', faults: [{ delay: '1m' }] }])
    const checkout = await rig.test.join('checkout')
    const asked = rig.ask(checkout, protocol, 'inventory')
    if (protocol === 'http') expect(await failure(asked)).toMatchObject({ code: 'deadline-exceeded', route: 'all' })
    else await expect(asked).rejects.toMatchObject({ code: 4 })
    expect(rig.seen).toHaveLength(0)
  })

  it('rewrites the host that the service sees', async () => {
    const rig = await withRoutes([{ name: 'all', rewrite: { host: 'shop.example' } }])
    const checkout = await rig.test.join('checkout')
    expect((await rig.ask(checkout, protocol, 'inventory')).by).toBe('here')
    expect(rig.seen[0]?.host).toBe('shop.example')
  })
})

describe('a route of HTTP calls', () => {
  it.each([
    ['/items/{id}', '/v2/{id}/stock', '/items/42?a=1', '/v2/42/stock?a=1'],
    ['/a/{x}/b/{y}', '/{y}/{x}', '/a/1/b/2', '/2/1'],
    [{ prefix: '/foo' }, { prefix: '/xyz' }, '/foo/bar?q', '/xyz/bar?q'],
    [{ prefix: '/foo' }, { prefix: '/xyz/' }, '/foo/bar', '/xyz/bar'],
    [{ prefix: '/foo/' }, { prefix: '/xyz' }, '/foo/bar', '/xyz/bar'],
    [{ prefix: '/foo' }, { prefix: '/xyz' }, '/foo', '/xyz'],
    [{ prefix: '/foo' }, { prefix: '/xyz' }, '/foo/', '/xyz/'],
    [{ prefix: '/foo' }, { prefix: '/' }, '/foo/bar', '/bar'],
    [{ prefix: '/foo' }, { prefix: '/' }, '/foo/', '/'],
    [{ prefix: '/foo' }, { prefix: '/' }, '/foo', '/'],
    ['/foo/*', { prefix: '/xyz' }, '/foo/a/b%2Cc', '/xyz/a/b%2Cc'],
  ])('with %j rewrites to %j: %s arrives as %s', async (path, to, asked, arrives) => {
    const rig = await withRoutes([{ name: 'all', match: [{ path }], rewrite: { path: to } }])
    const checkout = await rig.test.join('checkout')
    await rig.ask(checkout, 'http', 'inventory', { path: asked })
    expect(rig.seen[0]?.path).toBe(arrives)
  })

  it('redirects, alike by every door', async () => {
    const redirect = { scheme: 'https', host: 'shop.example', path: '/new/{id}' }
    const rig = await withRoutes([{ name: 'moved', match: [{ path: '/items/{id}' }], redirect }])
    const checkout = await rig.test.join('checkout')
    const location = 'https://shop.example/new/42?a=1'
    const answer = await rig.ask(checkout, 'http', 'inventory', { path: '/items/42?a=1' })
    expect(answer.status).toBe(302)
    expect(answer.headers.get('location')).toBe(location)
    const fetched = await checkout.fetch('http://inventory/items/42?a=1', { redirect: 'manual' })
    expect([fetched.status, fetched.headers.get('location')]).toEqual([302, location])
    const dispatched = await fetch('http://inventory.mesh/items/42?a=1', {
      dispatcher: checkout.dispatcher(),
      redirect: 'manual',
    } as never)
    expect([dispatched.status, dispatched.headers.get('location')]).toEqual([302, location])
    expect(rig.seen).toHaveLength(0)
  })

  it.each([
    [{ path: '/new' }, 'http://inventory.mesh/old?a=1', 'http://inventory.mesh/new?a=1'],
    [{ path: '/new' }, 'https://inventory.mesh/old', 'https://inventory.mesh/new'],
    [{ path: '/new' }, 'http://inventory.mesh:8080/old', 'http://inventory.mesh:8080/new'],
    [{ host: 'shop.example' }, 'https://inventory.mesh:8443/old', 'https://shop.example:8443/old'],
    [{ scheme: 'https' }, 'http://inventory.mesh:8080/old', 'https://inventory.mesh/old'],
    [{ port: 80 }, 'https://inventory.mesh/old', 'https://inventory.mesh:80/old'],
  ])('redirects by %j from %s to %s', async (redirect, from, location) => {
    const rig = await withRoutes([{ name: 'moved', match: [{ path: '/old' }], redirect }])
    const checkout = await rig.test.join('checkout')
    const fetched = await checkout.fetch(from, { redirect: 'manual' })
    expect(fetched.headers.get('location')).toBe(location)
    const dispatcher = checkout.dispatcher()
    const dispatched = await fetch(from, { dispatcher, redirect: 'manual' } as never)
    expect(dispatched.headers.get('location')).toBe(location)
    const { origin, pathname, search } = new URL(from)
    const asked = await dispatcher.request({ origin: new URL(origin), path: pathname + search, method: 'GET' })
    expect(asked.headers.location).toBe(location)
    await asked.body.dump()
  })

  it.each(['/items/\xe9', '/items/a\\b', '/items/%zz'])('with a path matches no %s, as explain says', async (path) => {
    const redirect = { path: '/new/{id}' }
    const rig = await withRoutes([{ name: 'moved', match: [{ path: '/items/{id}' }], redirect }])
    const checkout = await rig.test.join('checkout')
    expect((await checkout.explain({ service: 'inventory', path })).route).toBeNull()
    expect((await checkout.http('inventory').get(path)).status).not.toBe(302)
  })

  it.each([
    ['/items/\xe9?a=1', '/new/items/%C3%A9?a=1'],
    ['/items/a\\b', '/new/items/a/b'],
    ['/items/../../x', '/new/x'],
    ['//other.example/x', '/new//other.example/x'],
  ])('for all paths rewrites and redirects %s to %s', async (path, to) => {
    const rewritten = { name: 'rewritten', match: [{ path: { prefix: '/' }, method: 'PUT' }] }
    const moved = { name: 'moved', match: [{ path: { prefix: '/' } }] }
    const rig = await withRoutes([
      { ...rewritten, rewrite: { path: { prefix: '/new' } } },
      { ...moved, redirect: { path: { prefix: '/new' } } },
    ])
    const checkout = await rig.test.join('checkout')
    const { answer } = await checkout.explain({ service: 'inventory', path })
    const told = await checkout.http('inventory').get(path)
    expect(told.headers.get('location')).toBe(`http://inventory${to}`)
    expect(answer?.location).toBe(`http://inventory${to}`)
    await rig.ask(checkout, 'http', 'inventory', { path, method: 'PUT' })
    expect(rig.seen.at(-1)?.path).toBe(to)
  })

  it('redirects calls of mesh.http, which have no origin, to the name of the service', async () => {
    const rig = await withRoutes([{ name: 'moved', match: [{ path: '/old' }], redirect: { path: '/new' } }])
    const checkout = await rig.test.join('checkout')
    const answer = await checkout.http('inventory').get('/old')
    expect(answer.headers.get('location')).toBe('http://inventory/new')
  })

  it('answers a request whose body is a stream, and leaves the stream alone', async () => {
    const rig = await withRoutes([{ name: 'all', respond: { status: 200, body: 'not needed' } }])
    const checkout = await rig.test.join('checkout')
    let cancelled = false
    const body = new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(16)),
      cancel() {
        cancelled = true
      },
    })
    const response = await checkout.http('inventory').post('/items', body as never)
    expect([response.status, await response.text()]).toEqual([200, 'not needed'])
    await until(() => cancelled)
    const fetched = await checkout.fetch('http://inventory/items', { method: 'HEAD' })
    expect([fetched.status, await fetched.text()]).toEqual([200, ''])
  })

  it('ends an injected delay when the signal of the call fires', async () => {
    const rig = await withRoutes([{ name: 'all', faults: [{ delay: '1m' }] }])
    const checkout = await rig.test.join('checkout')
    await checkout
      .http('inventory')
      .get('/', { timeout: 30 })
      .catch(() => {})
    const controller = new AbortController()
    const asked = checkout.http('inventory').get('/items', { signal: controller.signal })
    setTimeout(() => controller.abort(new Error('enough')), 20)
    expect(await failure(asked)).toMatchObject({ code: 'cancelled', cause: { message: 'enough' } })
    await expect(checkout.fetch('http://inventory/', { signal: AbortSignal.abort('no') })).rejects.toBe('no')
  })

  it('names itself in the error of a call', async () => {
    const rig = await routedMesh([{ service: 'inventory', routes: [{ name: 'far', to: { service: 'nobody' } }] }])
    const checkout = await rig.test.join('checkout')
    // From now on it knows the document.
    expect((await checkout.explain({ service: 'inventory' })).route).toBe('far')
    const error: MeshError = await failure(rig.ask(checkout, 'http', 'inventory', { timeout: 100 }))
    expect(error.route).toBe('far')
    expect(error.message).toContain("GET to 'inventory' (route 'far') failed")
    expect(error.message).toContain("any instance of the target 'service:nobody' of 'inventory'")
    expect(error.toJSON()).toMatchObject({ route: 'far' })
  })
})
