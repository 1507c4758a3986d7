/**
 * Wrong input to each public function: one OptionsError that names the field and what is valid
 * there, and nothing half-done.
 */
import { readdirSync } from 'node:fs'
import { Server } from 'node:net'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { isMeshError, joinMesh, type Mesh, type MeshOptions, OptionsError, type ServeOptions } from '../../src/index.ts'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { guard } from '../../src/resilience/index.ts'
import { startTestMesh } from '../../src/testing/index.ts'
import { Rig } from '../end-to-end/rig.ts'
import { request } from '../rigs/registry-session.ts'
import { errorOf, expectMistake } from './mistakes.ts'

let rig: Rig
let registry: Registry
let mesh: Mesh

beforeAll(async () => {
  rig = new Rig()
  registry = await rig.registry({ dev: true })
  mesh = await rig.mesh(registry, 'checkout')
  const server = await rig.mesh(registry, 'inventory')
  await server.serve((_req, res) => res.end('hello'))
  await (await mesh.fetch('http://inventory/')).text()
})

afterAll(async () => {
  await rig.close()
})

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

type Wrong = readonly [field: string, value: unknown, valid: RegExp]

const JOIN: readonly Wrong[] = [
  ['service', undefined, /is missing.*INMESH_SERVICE/],
  ['service', '', /a service name/],
  ['service', 'Checkout', /lower-case/],
  ['service', 'a'.repeat(64), /1 to 63/],
  ['service', 'a.b', /letters, digits/],
  ['service', 5, /got 5/],
  ['registry', 'http://127.0.0.1:7400', /https:\/\//],
  ['registry', 'https://user:secret@127.0.0.1', /a registry address/],
  ['registry', [], /registry address/],
  ['registry', 'https://127.0.0.1:99999', /registry address/],
  ['joinToken', 'rubbish', /join token/],
  ['stateDir', '', /a directory, or 'memory'/],
  ['stateDir', 'a\0b', /a directory/],
  ['zone', 'eu west', /zone/],
  ['version', '', /version/],
  ['weight', 1.5, /whole number from 0 to 1000/],
  ['weight', '100', /whole number/],
  ['weight', Number.NaN, /whole number/],
  ['metadata', { key: 5 }, /text/],
  ['metadata', JSON.parse('{"__proto__":{"polluted":true}}'), /text/],
  ['metadata', 'x', /object/],
  ['joinTimeout', 'soon', /duration/],
  ['joinTimeout', -1, /duration/],
  ['joinTimeout', Number.POSITIVE_INFINITY, /duration/],
  ['startWithoutRegistry', 'yes', /true or false/],
  ['transport', 'http2', /one of 'auto', 'http1'/],
  ['adminPort', 65_536, /0 to 65535/],
  ['handleSignals', 1, /true or false/],
  ['drainNotice', '2 minutes', /duration/],
  ['drainTimeout', '1d', /duration/],
  ['clock', {}, /Clock/],
  ['servcie', 'checkout', /did you mean 'service'/],
]

test.each(JOIN)('joinMesh refuses %s: %s', async (field, value, valid) => {
  const directory = rig.path('never')
  const wrong = { service: 'shop', registry: registry.url, stateDir: directory, adminPort: 0, [field]: value }
  const listen = vi.spyOn(Server.prototype, 'listen')
  const signals = process.listenerCount('SIGTERM')
  expectMistake(await errorOf(() => joinMesh(wrong as MeshOptions)), field, valid)
  expect(listen).not.toHaveBeenCalled()
  expect(process.listenerCount('SIGTERM')).toBe(signals)
  expect(readdirSync(rig.directory)).not.toContain('never')
})

test('joinMesh names every mistake at once, also those of the environment', async () => {
  vi.stubEnv('INMESH_WEIGHT', 'heavy')
  const error = await errorOf(() => joinMesh({ service: 'Shop', zone: '' } as MeshOptions))
  expect((error as OptionsError).issues.map(({ path }) => path[0]).sort()).toEqual(['service', 'weight', 'zone'])
})

test.each([null, 'checkout', [], 5])('joinMesh refuses %j instead of options', async (options) => {
  const error = await errorOf(() => joinMesh(options as unknown as MeshOptions))
  expect(error).toBeInstanceOf(OptionsError)
})

test("'mesh' is no service that can be called", async () => {
  const error = await errorOf(() => mesh.http('mesh'))
  expectMistake(error, 'service', /reserved/)
})

const SERVE: readonly Wrong[] = [
  ['port', -1, /0 to 65535/],
  ['port', '8080', /0 to 65535/],
  ['host', 'a b', /IP address or a host name/],
  ['mode', 'strikt', /'strict', 'permissive', 'plaintext'.*did you mean 'strict'/],
  ['headersTimeout', 0, /duration/],
  ['requestTimeout', 'long', /duration/],
  ['keepAliveTimeout', -5, /duration/],
  ['rotationGrace', '1y', /duration/],
  ['maxHeaders', 3, /16 to 2000/],
  ['maxConnections', 0, /1 to 1000000/],
  ['onUpgrade', 'yes', /function/],
  ['advertise', 'http://x', /IP address or a host name/],
  ['metadata', { key: 'x'.repeat(513) }, /512/],
  ['prot', 80, /did you mean 'port'/],
  ['tls', true, /valid keys are port,.*advertise, metadata/],
]

test.each(SERVE)('mesh.serve refuses %s: %s', async (field, value, valid) => {
  const listen = vi.spyOn(Server.prototype, 'listen')
  expectMistake(await errorOf(() => mesh.serve(() => {}, { [field]: value } as ServeOptions)), field, valid)
  expect(listen).not.toHaveBeenCalled()
  await nobodyServesCheckout()
})

test.each([null, 'port', 5, []])('mesh.serve refuses %j instead of options', async (options) => {
  const error = await errorOf(() => mesh.serve(() => {}, options as never))
  expect(error).toBeInstanceOf(OptionsError)
  await nobodyServesCheckout()
})

test.each([undefined, null, 'app', {}, 5])('mesh.serve refuses %j instead of a handler', async (handler) => {
  const error = await errorOf(() => mesh.serve(handler as never))
  expect(error).toBeInstanceOf(OptionsError)
  expect((error as Error).message).toMatch(/handler/)
  await nobodyServesCheckout()
})

test('mesh.serve on a taken port rejects with the error of the system, and registers nothing', async () => {
  const other = await rig.mesh(registry, 'other')
  const port = Number(new URL(registry.url).port)
  await expect(other.serve(() => {}, { port })).rejects.toMatchObject({
    code: 'EADDRINUSE',
    message: expect.stringMatching(/^a server of 'other' cannot listen: listen EADDRINUSE: .*:\d+$/),
  })
  expect(await instancesOf('other')).toBe(0)
  expect(await instancesOf('inventory')).toBe(1)
})

/** As the registry knows them. */
async function instancesOf(service: string): Promise<number> {
  const answer = await request(registry, 'GET', `/v1/services/${service}`)
  return answer.status === 404 ? 0 : answer.json.instances.length
}

async function nobodyServesCheckout(): Promise<void> {
  expect(await instancesOf('checkout')).toBe(0)
}

test.each(['', 'Inventory', 'a/b', 'inventory:80', '../x', 'a'.repeat(64), 5, null, undefined])(
  'mesh.http refuses %j',
  async (name) => {
    expectMistake(await errorOf(() => mesh.http(name as string)), 'service', /a service name/)
  },
)

const REQUESTS: readonly (readonly [what: string, field: string, valid: RegExp, work: () => unknown])[] = [
  ['a path without a slash', 'path', /begins with '\/'/, () => mesh.http('inventory').get('items')],
  ['a path with a space', 'path', /percent-encoded/, () => mesh.http('inventory').get('/a b')],
  ['a path with a line break', 'path', /path/, () => mesh.http('inventory').get('/a\r\nx: y')],
  ['a path with a fragment', 'path', /'#'/, () => mesh.http('inventory').get('/a#b')],
  ['an absolute URL', 'path', /begins with '\/'/, () => mesh.http('inventory').get('http://inventory/')],
  ['no path', 'path', /path/, () => mesh.http('inventory').get(undefined as unknown as string)],
  ['a method with a space', 'method', /HTTP method/, () => mesh.http('inventory').request('GET /x', '/')],
  ['CONNECT', 'method', /HTTP method/, () => mesh.http('inventory').request('CONNECT', '/')],
  ['no method', 'method', /HTTP method/, () => mesh.http('inventory').request(null as unknown as string, '/')],
  ['a timeout of 0', 'timeout', /duration/, () => mesh.http('inventory').get('/', { timeout: 0 })],
  ['a negative timeout', 'timeout', /duration/, () => mesh.http('inventory').get('/', { timeout: -1 })],
  ['a timeout in words', 'timeout', /'200ms'/, () => mesh.http('inventory').get('/', { timeout: 'soon' as '1s' })],
  ['a timeout of a day', 'timeout', /5 minutes/, () => mesh.http('inventory').get('/', { timeout: '1d' })],
  [
    'a header name with a space',
    'headers',
    /header/,
    () => mesh.http('inventory').get('/', { headers: { 'a b': 'c' } }),
  ],
  [
    'a header with a line break',
    'headers',
    /header/,
    () => mesh.http('inventory').get('/', { headers: { a: 'b\r\nc: d' } }),
  ],
  [
    'an option with a typing error',
    'timeuot',
    /did you mean 'timeout'/,
    () => mesh.http('inventory').get('/', { timeuot: 5 } as object),
  ],
  ['a signal that is none', 'signal', /AbortSignal/, () => mesh.http('inventory').get('/', { signal: 5 as never })],
  [
    'idempotent in words',
    'idempotent',
    /true or false/,
    () => mesh.http('inventory').get('/', { idempotent: 'yes' as never }),
  ],
  ['retry as a number', 'retry', /false/, () => mesh.http('inventory').get('/', { retry: 5 as never })],
  ['a query that is none', 'query', /URLSearchParams/, () => mesh.http('inventory').get('/', { query: 5 as never })],
  ['headers that are none', 'headers', /an object/, () => mesh.http('inventory').get('/', { headers: 5 as never })],
  ['a body without a form', 'body', /text, bytes/, () => mesh.http('inventory').post('/', 5 as never)],
  ['JSON of a BigInt', 'json', /JSON/, () => mesh.http('inventory').post('/', { a: 1n })],
  ['filters that are no list', 'filters', /list/, () => mesh.http('inventory', { filters: 5 as never })],
  ['a filter that is no function', 'filters', /function/, () => mesh.http('inventory', { filters: [5 as never] })],
  [
    'an unknown option of a client',
    'filter',
    /did you mean 'filters'/,
    () => mesh.http('inventory', { filter: [] } as object),
  ],
  ['a dispatcher with a wrong fallback', 'fallback', /Dispatcher/, () => mesh.dispatcher({ fallback: 5 as never })],
  ['fetchWith a wrong option', 'passthrough', /true or false/, () => mesh.fetchWith({ passthrough: 5 as never })],
  ['fetch of null', 'input', /a URL such as/, () => mesh.fetch(null as never)],
  ['fetch of a GET with a body', 'body', /cannot have body/, () => mesh.fetch('http://inventory/', { body: 'x' })],
  [
    'fetch with a signal that is none',
    'signal',
    /AbortSignal/,
    () => mesh.fetch('http://inventory/', { signal: 5 as never }),
  ],
  ['fetch of no URL', 'input', /a URL such as/, () => mesh.fetch('inventory/items')],
  ['fetch of another scheme', 'input', /http URL/, () => mesh.fetch('ftp://inventory/')],
  ['fetch with a password', 'input', /without credentials/, () => mesh.fetch('http://a:b@inventory/')],
  ['fetch with a wrong method', 'method', /HTTP method/, () => mesh.fetch('http://inventory/', { method: 'A B' })],
  ['fetch with a wrong timeout', 'timeout', /duration/, () => mesh.fetch('http://inventory/', { timeout: -5 })],
]

test.each(REQUESTS)('%s is refused before anything is sent', async (_what, field, valid, work) => {
  const requests = (): string[] =>
    mesh
      .metrics()
      .split('\n')
      .filter((line) => line.startsWith('inmesh_client_requests_total'))
  const before = requests()
  expectMistake(await errorOf(work), field, valid)
  expect(requests()).toEqual(before)
  expect(await (await mesh.http('inventory').get('/')).text()).toBe('hello')
})

const WITHOUT_OPTIONS: Readonly<Record<string, (options: never) => unknown>> = {
  joinMesh: (options) => joinMesh(options),
  startRegistry: (options) => startRegistry(options),
  startTestMesh: (options) => startTestMesh(options),
  'mesh.http': (options) => mesh.http('inventory', options),
  'mesh.fetchWith': (options) => mesh.fetchWith(options),
  'mesh.dispatcher': (options) => mesh.dispatcher(options),
  'mesh.serve': (options) => mesh.serve(() => {}, options),
  'mesh.token': (options) => mesh.token(options),
  'mesh.verifyToken': (options) => mesh.verifyToken('a.b.c', options),
  guard: (options) => guard(() => {}, options),
}

test.each(Object.keys(WITHOUT_OPTIONS))('null in place of all options of %s is refused', async (name) => {
  const error = await errorOf(() => WITHOUT_OPTIONS[name]!(null as never))
  expect(error).toBeInstanceOf(OptionsError)
  expect((error as Error).message).toMatch(/expected an object.*got null/)
})

test.each([null, 5, 'x'])('%j instead of the options of a request is refused', async (options) => {
  const error = await errorOf(() => mesh.http('inventory').get('/', options as never))
  expect(error).toBeInstanceOf(OptionsError)
})

test.each(['http://example.com/', 'http://127.0.0.1/', 'http://localhost:8080/'])(
  'fetch of %s, which is no service, says so',
  async (url) => {
    const error = await errorOf(() => mesh.fetch(url))
    expect(isMeshError(error) && error.code).toBe('not-in-mesh')
  },
)
