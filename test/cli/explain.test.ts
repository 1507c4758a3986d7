/** Operators ask where a request would go, against a registry over TLS. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Explanation } from '../../src/discovery/explanation.ts'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { instance } from '../rigs/instance.ts'
import { request, TestSession } from '../rigs/registry-session.ts'
import { type Run, run } from './run-command.ts'

const DOCUMENTS = `service: mesh
retry: { attempts: 4, perTryTimeout: 1s }
---
service: inventory
timeout: 800ms
subsets:
  blue:  { version: v1 }
  green: { version: v2, metadata: { track: next } }
routes:
  - name: beta-testers
    match: [{ headers: { x-beta: '1' } }, { query: { beta: '*' } }]
    to: green
  - name: item-pages
    match: [{ method: [GET, HEAD], path: '/items/{id}' }]
    split: [{ to: blue, weight: 90 }, { to: green, weight: 10, headers: { request: { set: { x-side: green } } } }]
    sticky: { header: x-user }
    timeout: 300ms
    mirror: { to: green, share: 5% }
    headers: { response: { remove: [server] } }
    rewrite: { path: '/v2/items/{id}', host: shop.example }
  - name: quotes
    match: [{ grpc: 'shop.Inventory/Quote', from: checkout }]
    to: { service: inventory-eu, subset: blue }
  - name: gone
    match: [{ path: { prefix: /old } }]
    respond: { status: 410 }
failover: [{ zone: same }, { zone: any }, { subset: blue }, { service: inventory-eu, subset: blue }]
allow:
  - { from: checkout, methods: [GET], paths: ['/v2/*'] }
---
service: inventory-eu
subsets: { blue: { version: v1 } }
allow: [{ from: checkout, grpc: ['shop.Inventory/*'] }, { from: audit, tcp: true }]
`

let registry: Registry
const sessions: TestSession[] = []

beforeAll(async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false })
  for (const [service, id, port, more] of [
    ['inventory', 'a', 1001, { version: 'v1', zone: 'eu-1' }],
    ['inventory', 'b', 1002, { version: 'v2', metadata: { track: 'next' } }],
    ['inventory', 'c', 1003, { version: 'v2' }],
    ['inventory-eu', 'e', 1004, { version: 'v1', protocol: 'grpc' }],
    ['inventory-eu', 'f', 1005, { version: 'v1' }],
    ['inventory-eu', 't', 1006, { protocol: 'tcp' }],
  ] as const) {
    const session = await TestSession.open(registry, service)
    sessions.push(session)
    await session.ask({ type: 'register', instance: instance(service, id, { port, ...more }) })
  }
  expect((await command(['apply', '-f', '-'], DOCUMENTS)).stderr).toBe('')
  await command(['instances', 'disable', 'inventory', 'b'])
})
afterAll(async () => {
  for (const session of sessions) session.close()
  await registry.close()
})

function command(args: readonly string[], stdin?: string): Promise<Run> {
  const env = { INMESH_REGISTRY: registry.url, INMESH_ADMIN_TOKEN: registry.adminToken, HOME: '/nonexistent' }
  return run(args, { env, ...(stdin !== undefined && { stdin }) })
}

async function explained(...args: string[]): Promise<Explanation> {
  const { code, stdout, stderr } = await command(['explain', ...args, '--json'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout)
}

describe('inmesh explain', () => {
  it('shows the whole way of an HTTP request', async () => {
    const url = 'http://inventory/items/42?full'
    const { stdout } = await command(['explain', 'GET', url, '-H', 'X-User: 7', '--from', 'checkout'])
    const side = stdout.includes('blue   90%  <- this request') ? 'blue' : 'green'
    expect(stdout.replace('  <- this request', '')).toBe(`GET http://inventory/items/42?full from checkout

route
  beta-testers  no   match[0].headers.x-beta: expected '1', the request has none
                no   match[1].query.beta: expected any value, the request has none
  item-pages    yes  match[0] holds

split
  blue   90%
  green  10%
  sticky by header x-user '7'

endpoints of blue
  ID  ADDRESS         STATE  ZONE  VERSION  WEIGHT  TRANSPORTS
  a   127.0.0.1:1001  ready  eu-1  v1       100     -

endpoints of green
  ID  ADDRESS         STATE     ZONE  VERSION  WEIGHT  TRANSPORTS
  b   127.0.0.1:1002  disabled  -     v2       100     -

failover
  1  {"zone":"same"}
  2  {"zone":"any"}
  3  {"subset":"blue"}  1 endpoint
  4  {"service":"inventory-eu","subset":"blue"}  1 endpoint

mirrors
  green  5%

changes
  path  /v2/items/42?full
  host  shop.example
  response: remove server
  request to green: set x-side: green

policies
  POLICY               VALUE  FROM
  timeout              300ms  route item-pages
  retry.attempts       4      mesh
  retry.perTryTimeout  300ms  bound by timeout
  all others have their defaults (--all shows them)

intention
  inventory allows it: allow[0] of inventory
`)
    // The same key, the same side.
    for (let i = 0; i < 3; i++) {
      expect((await explained('GET', url, '-H', 'x-user: 7')).target).toBe(side)
    }
  })

  it('shows that of a gRPC call to another service', async () => {
    const { stdout } = await command(['explain', 'grpc', 'inventory', 'shop.Inventory/Quote', '--from', 'checkout'])
    expect(stdout).toMatch(/^gRPC inventory\/shop\.Inventory\/Quote from checkout\n/)
    expect(stdout).toContain(`
  item-pages    no   match[0]: is for HTTP only
  quotes        yes  match[0] holds

target
  service:inventory-eu/blue

endpoints of service:inventory-eu/blue
  ID  ADDRESS         STATE  ZONE  VERSION  WEIGHT  TRANSPORTS
  e   127.0.0.1:1004  ready  -     v1       100     -
`)
    expect(stdout).toContain('  inventory-eu allows it: allow[0] of inventory-eu\n')
  })

  it('shows that of a TCP connection, which only a rule with tcp allows', async () => {
    const { stdout } = await command(['explain', 'tcp', 'inventory-eu', '--from', 'audit'])
    expect(stdout).toMatch(/^a TCP connection to inventory-eu from audit\n/)
    expect(stdout).toMatch(/t {3}127\.0\.0\.1:1006/)
    expect(stdout).toContain('inventory-eu allows it: allow[1] of inventory-eu')
    const denied = await explained('tcp', 'inventory-eu', '--from', 'checkout')
    expect(denied).toMatchObject({ protocol: 'tcp', method: 'connect', targets: [{ endpoints: [{ id: 't' }] }] })
    expect(denied.targets[0]!.intention).toMatchObject({ allowed: false, rule: 'default' })
    const beside = await explained('tcp', 'inventory', '--from', 'checkout')
    expect(beside.routes[0]).toMatchObject({ matched: false })
    expect(beside).toMatchObject({ route: null, action: 'send' })
  })

  it('says that no caller was given, and that the service as it is takes what no route matches', async () => {
    const explanation = await explained('grpc', 'inventory', '/shop.Inventory/Quote')
    expect(explanation.routes.at(-2)).toEqual({
      name: 'quotes',
      matched: false,
      match: null,
      failed: [{ match: 0, condition: 'from', expected: 'checkout', seen: null }],
    })
    expect(explanation).toMatchObject({ route: null, action: 'send', from: null, target: '' })
    expect(explanation.targets).toMatchObject([
      { key: '', intention: { allowed: false, rule: 'default', from: 'service' } },
    ])
    const { stdout } = await command(['explain', 'grpc', 'inventory', 'shop.Inventory/Quote'])
    expect(stdout).toContain('none matches: the service as it is')
    expect(stdout).toContain(
      'inventory denies it: no rule of inventory is for /shop.Inventory/Quote from an unknown caller',
    )
  })

  it('shows an answer that the caller makes itself', async () => {
    const explanation = await explained('POST', 'http://inventory.mesh/old/things')
    expect(explanation).toMatchObject({ route: 'gone', action: 'respond', answer: { status: 410 }, targets: [] })
    expect((await command(['explain', 'POST', 'http://inventory/old'])).stdout).toContain('  410, made by the caller\n')
    await command(
      ['apply', '-f', '-'],
      'service: gone\nunmatched: refuse\nroutes: [{ name: a, match: [{ path: /a }] }]\n',
    )
    const http = await explained('GET', 'http://gone/b')
    expect(http).toMatchObject({ action: 'refuse', route: null, answer: { status: 404, grpcStatus: null } })
    const grpc = await explained('grpc', 'gone', 'shop.Inventory/Quote')
    expect(grpc).toMatchObject({ action: 'refuse', answer: { grpcStatus: 'UNIMPLEMENTED' } })
    expect((await command(['explain', 'grpc', 'gone', 'a.B/C'])).stdout).toContain(
      '  UNIMPLEMENTED, made by the caller\n',
    )
  })

  it('shows what an override of the request does, and why it counts for nothing', async () => {
    const document = `service: prices
subsets: { next: { version: v2 } }
overrides: { from: [gateway] }
routes: [{ name: all, split: [{ to: { service: prices }, weight: 1 }, { to: next, weight: 1 }], mirror: { to: next } }]
`
    expect((await command(['apply', '-f', '-'], document)).code).toBe(0)
    const ask = (value: string, from: string) =>
      explained('GET', 'http://prices/', '-H', `x-inmesh-route: ${value}`, '--from', from)
    const allowed = await ask('prices=next, stock=green', 'gateway')
    expect(allowed).toMatchObject({ route: 'all', target: 'next', mirrors: [], sticky: null })
    expect(allowed.override).toEqual({ origin: 'gateway', target: 'next', refused: null })
    expect(allowed.targets).toMatchObject([{ key: 'next', share: 1 }])
    const denied = await ask('prices=next', 'checkout')
    expect(denied).toMatchObject({ target: null, override: { target: null } })
    expect(denied.override!.refused).toContain("no document allows 'checkout'")
    expect((await ask('stock=green', 'gateway')).override).toBeNull()
    const wrong = await command(['explain', 'GET', 'http://prices/', '-H', 'x-inmesh-route: prices'])
    expect([wrong.code, wrong.stderr]).toEqual([
      2,
      expect.stringContaining('headers.x-inmesh-route: expected entries such as'),
    ])
  })

  it('names each failed condition with the value seen', async () => {
    const { routes } = await explained('DELETE', 'http://inventory/items/1/stock?beta', '-H', 'x-beta: 2')
    expect(routes).toMatchObject([{ name: 'beta-testers', matched: true, match: 1 }])
    const put = await explained('PUT', 'http://inventory/items/1')
    expect(put.routes[1]!.failed).toEqual([{ match: 0, condition: 'method', expected: 'GET, HEAD', seen: 'PUT' }])
    const deep = await explained('GET', 'http://inventory/items/1/stock')
    expect(deep.routes[1]!.failed).toEqual([
      { match: 0, condition: 'path', expected: '/items/{id}', seen: '/items/1/stock' },
    ])
    expect(deep.routes[3]!.failed).toEqual([
      { match: 0, condition: 'path', expected: 'prefix /old', seen: '/items/1/stock' },
    ])
  })

  it('shows all policies with --all, and warns of a service that is not known', async () => {
    const { stdout } = await command(['explain', 'GET', 'http://nowhere/', '--all'])
    expect(stdout).toMatch(/\n {2}circuitBreaker\.window +10s +default\n/)
    expect(stdout).toMatch(/\n {2}retry\.attempts +4 +mesh\n/)
    expect(stdout).toContain("\nwarnings\n  no service 'nowhere' is known\n")
  })

  it.each([
    [['GET', 'inventory'], "expected '<method> <url>', such as 'GET http://inventory/items/42', got \"inventory\""],
    [['GET', 'ftp://inventory/'], "expected '<method> <url>'"],
    [['GET', 'http://inventory:8080/'], 'without port and user: http://inventory/'],
    [['GET', 'http://inventory/', 'more'], 'got another argument "more"'],
    [['GET', 'http://In_ventory/'], 'service: expected a service name'],
    [['G ET', 'http://inventory/'], 'method: expected an HTTP method'],
    [['GET', 'http://inventory/', '-H', 'x-user'], "such as 'x-user: 7'"],
    [['GET', 'http://inventory/', '--from', 'Check'], 'expected a service name'],
    [['grpc', 'inventory'], "expected 'grpc <service> <method>'"],
    [['grpc', 'inventory', 'Quote'], "grpc: expected a gRPC method such as 'shop.Inventory/Get'"],
    [['grpc', 'inventory', 'shop.Inventory/*'], 'got all of a service'],
  ])('refuses %j with a hint', async (args, hint) => {
    const answer = await command(['explain', ...args])
    expect([answer.code, answer.stdout, answer.stderr]).toEqual([2, '', expect.stringContaining(hint)])
  })
})

describe('POST /v1/explain', () => {
  it('answers operators, also those who may only read, and refuses what it does not know', async () => {
    const ask = (body: unknown, headers = {}) =>
      request(registry, 'POST', '/v1/explain', {
        body,
        headers: { authorization: `Bearer ${registry.adminToken}`, ...headers },
      })
    const created = await command(['token', 'operator', 'create', 'reader', '--read-only', '--json'])
    const { token } = JSON.parse(created.stdout)
    const answer = await ask({ service: 'inventory', path: '/old' }, { authorization: `Bearer ${token}` })
    expect([answer.status, answer.json.route]).toEqual([200, 'gone'])
    expect((await request(registry, 'POST', '/v1/explain', { body: { service: 'inventory' } })).status).toBe(403)
    for (const [body, path] of [
      [{ service: 'inventory', methd: 'GET' }, ['methd']],
      [{ path: '/' }, ['service']],
      [{ service: 'inventory', path: 'x' }, ['path']],
      [{ service: 'inventory', protocol: 'grpc' }, ['grpc']],
      [{ service: 'inventory', grpc: 'a.B/C', method: 'GET' }, ['method']],
      [{ service: 'inventory', headers: { a: 1 } }, ['headers', 'a']],
    ] as const) {
      const refused = await ask(body)
      expect([refused.status, refused.json.error.issues[0].path]).toEqual([400, path])
    }
  })
})
