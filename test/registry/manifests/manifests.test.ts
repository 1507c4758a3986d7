/** Manifests as objects of the registry, and the documents that watchers get of them. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../../src/registry/index.ts'
import { grpcRoute, httpRoute, to } from '../../gateway-api/manifests.ts'
import { nextMillisecond } from '../../rigs/next-millisecond.ts'
import { request } from '../../rigs/registry-session.ts'

let registry: Registry
beforeEach(async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false })
})
afterEach(() => registry.close())

async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const authorization = `Bearer ${registry.adminToken}`
  const { status, json } = await request(registry, method, path, { body, headers: { authorization, ...headers } })
  return { status, json: json as Json }
}
// biome-ignore lint/suspicious/noExplicitAny: answers of an API are looked at by their path
type Json = any

const apply = async (...documents: unknown[]) => await call('POST', '/v1/policies', documents)
const served = async (service = 'echo') => (await call('GET', `/v1/services/${service}`)).json.policy
const namesOf = (document: Json): string[] => document.routes.map(({ name }: { name: string }) => name)

const rule = (value: string, backend = 'echo-v1') => ({ matches: [{ path: { value } }], backendRefs: [to(backend)] })
/** Services that the registry knows. */
const known = (...services: string[]) => services.map((service) => ({ service, timeout: '1s' }))

describe('objects', () => {
  test('another name adds, the same name replaces and keeps its age', async () => {
    const first = await apply(httpRoute('one', [rule('/a')]), httpRoute('two', [rule('/b')]))
    expect(first.json.changes).toMatchObject([
      { service: 'HTTPRoute/default/one', change: 'created', version: 1 },
      { service: 'HTTPRoute/default/two', change: 'created', version: 1 },
    ])
    const before = (await call('GET', '/v1/manifests/HTTPRoute/default/one')).json
    const second = await apply(httpRoute('one', [rule('/c')]))
    expect(second.json.changes).toMatchObject([{ change: 'updated', version: 2 }])
    const after = (await call('GET', '/v1/manifests/HTTPRoute/default/one')).json
    expect(after).toMatchObject({ version: 2, createdAt: before.createdAt, attachments: [{ service: 'echo' }] })
    expect((await call('GET', '/v1/manifests')).json.manifests).toHaveLength(2)
  })

  test('kind and namespace are part of the key', async () => {
    const elsewhere = { namespace: 'shop', parent: { namespace: 'shop' } }
    await apply(httpRoute('one', [rule('/a')]), httpRoute('one', [rule('/a')], elsewhere), grpcRoute('one', [{}]))
    expect(
      (await call('GET', '/v1/manifests')).json.manifests.map(({ kind, namespace }: Json) => [kind, namespace]),
    ).toEqual([
      ['GRPCRoute', 'default'],
      ['HTTPRoute', 'default'],
      ['HTTPRoute', 'shop'],
    ])
  })

  test('the same manifest twice in one request is refused', async () => {
    const { status, json } = await apply(httpRoute('one', [rule('/a')]), httpRoute('one', [rule('/b')]))
    expect(status).toBe(422)
    expect(json.error.issues).toEqual([
      { path: [1, 'metadata', 'name'], message: 'HTTPRoute default/one has two documents' },
    ])
  })

  test('documents and manifests are applied together, all or none', async () => {
    const bad = httpRoute('one', [{ ...rule('/a'), filters: [{ type: 'CORS', cors: {} }] }])
    expect((await apply({ service: 'echo', timeout: '1s' }, bad)).json.error.issues[0].path).toEqual([
      1,
      'spec',
      'rules',
      0,
      'filters',
      0,
      'type',
    ])
    expect((await call('GET', '/v1/policies')).json.policies).toEqual([])
    expect((await apply({ service: 'echo', timeout: '1s' }, httpRoute('one', [rule('/a')]))).status).toBe(200)
    expect(await served()).toMatchObject({
      timeout: '1s',
      routes: [{ name: 'default/one/0' }, { name: 'unmatched-http' }],
    })
  })

  test('a mistake that only our documents know is refused at its rule', async () => {
    const requestHeaderModifier = { set: [{ name: 'Connection', value: 'close' }] }
    const filters = [{ type: 'RequestHeaderModifier', requestHeaderModifier }]
    const { json } = await apply(httpRoute('one', [rule('/a'), { ...rule('/b'), filters }]))
    expect(json.error.issues).toEqual([
      { path: [0, 'spec', 'rules', 1], message: expect.stringContaining('headers.request.set.connection: ') },
    ])
  })

  test('a dry run changes nothing', async () => {
    const { json } = await call('POST', '/v1/policies?dryRun=1', [httpRoute('one', [rule('/a')])])
    expect(json.changes).toMatchObject([{ change: 'created' }])
    expect((await call('GET', '/v1/manifests')).json.manifests).toEqual([])
  })

  test('history, rollback and deletion', async () => {
    const path = '/v1/manifests/HTTPRoute/default/one'
    expect((await call('PUT', path, httpRoute('one', [rule('/a')]))).status).toBe(200)
    expect((await call('PUT', path, httpRoute('one', [rule('/b')]))).status).toBe(200)
    expect((await call('POST', `${path}/rollback`, { version: 1 })).json).toMatchObject({
      change: 'updated',
      version: 3,
    })
    expect((await served()).routes[0].match).toEqual([{ path: { prefix: '/a' } }])
    expect((await call('DELETE', path)).json).toMatchObject({ change: 'deleted', version: 4 })
    expect((await call('GET', path)).status).toBe(404)
    expect((await call('GET', `${path}/history`)).json.versions.map(({ version }: Json) => version)).toEqual([
      4, 3, 2, 1,
    ])
    expect((await call('POST', `${path}/rollback`, { version: 2 })).json).toMatchObject({
      change: 'created',
      version: 5,
    })
    expect((await call('DELETE', '/v1/manifests/HTTPRoute/default/never')).status).toBe(404)
  })

  test('preconditions', async () => {
    const path = '/v1/manifests/HTTPRoute/default/one'
    await call('PUT', path, httpRoute('one', [rule('/a')]))
    expect((await call('PUT', path, httpRoute('one', [rule('/b')]), { 'if-match': '"7"' })).status).toBe(409)
    expect((await call('DELETE', path, undefined, { 'if-match': '"1"' })).status).toBe(200)
    const expected = { 'HTTPRoute/default/one': 1 }
    const body = { documents: [httpRoute('one', [rule('/a')])], expected }
    expect((await call('POST', '/v1/policies', body)).status).toBe(409)
  })

  test('a path that names another manifest than the body is refused', async () => {
    const { status, json } = await call('PUT', '/v1/manifests/HTTPRoute/shop/one', httpRoute('one', [rule('/a')]))
    expect(status).toBe(400)
    expect(json.error.issues).toEqual([{ path: ['metadata', 'namespace'], message: "expected 'shop', as in the path" }])
  })

  test('the audit log has each change', async () => {
    await apply(httpRoute('one', [rule('/a')]))
    const { audit } = (await call('GET', '/v1/audit')).json
    expect(audit[0]).toMatchObject({ action: 'policy-apply', detail: '1 changed: HTTPRoute/default/one' })
  })
})

describe('what watchers get', () => {
  test('several manifests on one service are merged by precedence; deletion takes the routes away', async () => {
    await apply(...known('echo-v1'), httpRoute('wide', [rule('/')]), httpRoute('narrow', [rule('/a')]))
    expect(namesOf(await served())).toEqual(['default/narrow/0', 'default/wide/0'])
    await call('DELETE', '/v1/manifests/HTTPRoute/default/narrow')
    expect(namesOf(await served())).toEqual(['default/wide/0'])
    await call('DELETE', '/v1/manifests/HTTPRoute/default/wide')
    expect((await call('GET', '/v1/services/echo')).status).toBe(404)
  })

  test('of equal matches the older manifest wins, also after it was replaced', async () => {
    await apply(httpRoute('z', [rule('/a')]))
    await nextMillisecond()
    await apply(httpRoute('a', [rule('/a')]))
    await apply(httpRoute('z', [{ ...rule('/a'), timeouts: { request: '1s' } }]))
    expect(namesOf(await served())[0]).toBe('default/z/0')
  })

  test('a backend that the registry does not know fails at once, until it is known', async () => {
    const backendRefs = [to('echo-v1'), to('ghost')]
    const { json } = await apply(...known('echo-v1'), httpRoute('one', [{ backendRefs }]))
    expect(json.warnings).toEqual([
      {
        service: 'HTTPRoute/default/one',
        path: [1, 'spec', 'rules', 0, 'backendRefs', 1],
        message: expect.stringMatching(/^'ghost' is no service that the registry knows/),
      },
    ])
    expect((await served()).routes[0].split[1]).toEqual({ to: { service: 'ghost', missing: true }, weight: 1 })
    await apply(...known('ghost'))
    expect((await served()).routes[0].split[1]).toEqual({ to: { service: 'ghost' }, weight: 1 })
  })

  test('a service may stand among its own backends, and two may point at each other', async () => {
    const back = httpRoute('back', [{ backendRefs: [to('echo')] }], { parent: { name: 'other' } })
    const { status } = await apply(
      ...known('echo', 'other'),
      httpRoute('one', [{ backendRefs: [to('echo'), to('other')] }]),
      back,
    )
    expect(status).toBe(200)
    expect((await served()).routes[0].split[0].to).toEqual({ service: 'echo' })
  })

  test('a manifest for Gateways only is kept, without effect', async () => {
    const { json } = await apply(httpRoute('one', [rule('/a')], { spec: { parentRefs: [{ name: 'edge' }] } }))
    expect(json.warnings[0]).toMatchObject({ path: [0, 'spec', 'parentRefs'] })
    expect((await call('GET', '/v1/services/edge')).status).toBe(404)
  })

  test('a manifest that leaves a service takes its routes with it', async () => {
    await apply(httpRoute('one', [rule('/a')]))
    await apply(httpRoute('one', [rule('/a')], { parent: { name: 'other' } }))
    expect((await call('GET', '/v1/services/echo')).status).toBe(404)
    expect(namesOf(await served('other'))).toEqual(['default/one/0', 'unmatched-http'])
  })

  test('a route that a document of more than 1,000 routes would have is refused', async () => {
    const wide = (name: string) =>
      httpRoute(
        name,
        Array.from({ length: 16 }, (_, i) => ({
          matches: Array.from({ length: 8 }, (_, j) => ({ path: { value: `/${name}/${i}/${j}` } })),
          backendRefs: [to('echo-v1')],
        })),
      )
    const manifests = Array.from({ length: 8 }, (_, i) => wide(`r${i}`))
    const { status, json } = await apply(...manifests)
    expect(status).toBe(422)
    expect(json.error.issues[0].message).toMatch(/^with it, the document of 'echo' is invalid: routes: expected a list/)
  })

  test('a watcher that waits gets the change of a manifest, and of a backend', async () => {
    await apply(...known('echo-v1'), httpRoute('one', [{ backendRefs: [to('ghost'), to('echo-v1')] }]))
    const { revision } = (await call('GET', '/v1/services/echo')).json
    const waiting = call('GET', `/v1/services/echo?since=${revision}&wait=20s`)
    await apply(...known('ghost'))
    const { json } = await waiting
    expect(json.revision).toBeGreaterThan(revision)
    expect(json.policy.routes[0].split[0]).toEqual({ to: { service: 'ghost' }, weight: 1 })
  })
})
