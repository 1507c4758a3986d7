import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RequestHead } from '../../src/core/request-head.ts'
import { checkReceivedDocument } from '../../src/discovery/check-document.ts'
import { type PolicyDocument, resolvePolicy } from '../../src/discovery/policy-document.ts'
import { triedRoutes } from '../../src/routing/explain-route.ts'
import { firstMatch, type RoutedRequest } from '../../src/routing/first-match.ts'
import type { MatchOptions } from '../../src/routing/match.ts'
import { RouteTable } from '../../src/routing/route-table.ts'
import type { RouteSettings } from '../../src/routing/settings.ts'

function request(
  target: string,
  { method = 'GET', headers = {}, caller = 'checkout', protocol = 'http' }: Partial<Options> = {},
): RoutedRequest {
  const head: RequestHead = { method, path: target, header: (name) => new Map(Object.entries(headers)).get(name) }
  return { head, caller, protocol, service: 'inventory' }
}
interface Options {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly caller: string
  readonly protocol: 'http' | 'grpc'
}

function grpc(method: string, options: Partial<Options> = {}): RoutedRequest {
  return request(method, { ...options, method, protocol: 'grpc' })
}

function routesOf(...matches: (readonly MatchOptions[] | undefined)[]): readonly RouteSettings[] {
  const routes = matches.map((match, i) => ({ name: `r${i}`, ...(match !== undefined && { match }) }))
  const document = { service: 'inventory', routes } as PolicyDocument
  // Some routes are never reached, which an author has to mend.
  expect(checkReceivedDocument(document)).toEqual([])
  return resolvePolicy(null, document).routing!.routes
}

/** What both ways of deciding say; they must agree. */
function decide(routes: readonly RouteSettings[], asked: RoutedRequest): string | undefined {
  const { caller, protocol, namespace, service } = asked
  const found = new RouteTable(routes, caller, protocol, namespace, service).find(asked.head)
  expect(found).toBe(firstMatch(routes, asked))
  return found?.name
}

function holds(match: MatchOptions, asked: RoutedRequest): boolean {
  return decide(routesOf([match]), asked) !== undefined
}

describe('a path', () => {
  it.each<[MatchOptions['path'], string, boolean]>([
    ['/items', '/items', true],
    ['/items', '/items?x=/y', true],
    ['/items', '/items/', false],
    ['/items', '/Items', false],
    ['/items/', '/items/', true],
    ['/', '/', true],
    ['/', '/x', false],
    ['/items/{id}', '/items/42', true],
    ['/items/{id}', '/items/', false],
    ['/items/{id}', '/items/42/', false],
    ['/items/{id}', '/items/4/2', false],
    ['/items/{id}/stock', '/items/42/stock', true],
    ['/items/*', '/items/42', true],
    ['/items/*', '/items/4/2/', true],
    ['/items/*', '/items/', false],
    ['/items/*', '/items', false],
    ['/*', '/', false],
    ['/*', '/x', true],
    [{ prefix: '/items' }, '/items', true],
    [{ prefix: '/items' }, '/items/', true],
    [{ prefix: '/items' }, '/items/42', true],
    [{ prefix: '/items' }, '/itemsets', false],
    [{ prefix: '/items/' }, '/items', true],
    [{ prefix: '/' }, '/', true],
    [{ prefix: '/' }, '/a//b/../c%00', true],
    [{ exact: '/a*b' }, '/a*b', true],
    [{ exact: '/a*' }, '/ab', false],
    [{ regex: '^/i/[0-9]+$' }, '/i/42?x=1', true],
    [{ regex: '/i' }, '/i/42', false],
    ['/caf%c3%a9', '/caf%C3%A9', true],
    ['/items', '/it%65ms', true],
    ['/items', '/./items', false],
    ['/items/*', '/items/../x', false],
    ['/items/*', '/items/a%2Fb', false],
    [{ prefix: '/items' }, '/items//42', true],
    ['/items/{id}', '/items//42', false],
    ['/a;b', '/a;b', true],
    ['/v1.2', '/v1.2', true],
  ])('%j and %s: %s', (path, target, expected) => {
    expect(holds({ path: path! }, request(target))).toBe(expected)
  })
})

describe('the other conditions', () => {
  it('are all needed within one match, and alternatives between matches', () => {
    const routes = routesOf([{ method: 'GET', headers: { 'x-a': '1' } }, { query: { beta: '*' } }], undefined)
    expect(decide(routes, request('/', { headers: { 'x-a': '1' } }))).toBe('r0')
    expect(decide(routes, request('/', { method: 'POST', headers: { 'x-a': '1' } }))).toBe('r1')
    expect(decide(routes, request('/?beta', { method: 'POST' }))).toBe('r0')
    expect(decide(routes, request('/?betas'))).toBe('r1')
  })

  it('compare `host` with the name of the called service, whatever the caller writes', () => {
    for (const asked of [request('/', { headers: { host: 'x' } }), grpc('/shop.Inventory/Quote')]) {
      expect(holds({ headers: { host: 'inventory' } }, asked)).toBe(true)
      expect(holds({ headers: { Host: { regex: 'inv.*' }, 'x-a': '*' } }, asked)).toBe(false)
      expect(holds({ headers: { host: 'x' } }, asked)).toBe(false)
    }
    const [of] = triedRoutes(routesOf([{ headers: { host: 'x' } }]), request('/'))
    expect(of?.failed).toEqual([{ match: 0, condition: 'headers.host', expected: 'x', seen: 'inventory' }])
  })

  it('compare headers and queries exactly, by presence or by expression', () => {
    const star = { 'x-a': { exact: '*' } }
    expect(holds({ headers: star }, request('/', { headers: { 'x-a': '*' } }))).toBe(true)
    expect(holds({ headers: star }, request('/', { headers: { 'x-a': 'b' } }))).toBe(false)
    expect(holds({ headers: { 'X-A': '*' } }, request('/', { headers: { 'x-a': '' } }))).toBe(true)
    expect(holds({ headers: { 'x-a': { regex: 'b+' } } }, request('/', { headers: { 'x-a': 'abb' } }))).toBe(false)
    expect(holds({ query: { q: 'a b' } }, request('/?q=a+b&q=c'))).toBe(true)
    expect(holds({ query: { q: 'a b' } }, request('/?p=1&q=a%20b'))).toBe(true)
    expect(holds({ query: { q: 'c' } }, request('/?q=a&q=c'))).toBe(false)
    expect(holds({ query: { q: '' } }, request('/?q'))).toBe(true)
    expect(holds({ query: { q: { regex: '[0-9]+' } } }, request('/?q=42&x'))).toBe(true)
  })

  it('do not let GET stand for HEAD', () => {
    expect(holds({ method: 'GET' }, request('/', { method: 'HEAD' }))).toBe(false)
    expect(holds({ method: ['GET', 'HEAD'] }, request('/', { method: 'HEAD' }))).toBe(true)
    expect(holds({ method: 'GET' }, request('/', { method: 'PROPFIND' }))).toBe(false)
  })

  it('concern gRPC, HTTP or both', () => {
    expect(holds({ grpc: 'shop.Inventory/Quote' }, grpc('/shop.Inventory/Quote'))).toBe(true)
    expect(holds({ grpc: 'shop.Inventory/*' }, grpc('/shop.Inventory/Get'))).toBe(true)
    expect(holds({ grpc: '*/Quote' }, grpc('/shop.Orders/Quote'))).toBe(true)
    expect(holds({ grpc: 'shop.Inventory/*' }, grpc('/shop.InventoryEu/Get'))).toBe(false)
    expect(holds({ grpc: { regex: 'shop\\..*/Get' } }, grpc('/shop.InventoryEu/Get'))).toBe(true)
    expect(holds({ grpc: 'shop.Inventory/Quote' }, request('/shop.Inventory/Quote', { method: 'POST' }))).toBe(false)
    expect(holds({ path: { prefix: '/' } }, grpc('/shop.Inventory/Quote'))).toBe(false)
    expect(holds({ headers: { 'x-a': '1' } }, grpc('/shop.Inventory/Quote', { headers: { 'x-a': '1' } }))).toBe(true)
  })

  it('name the calling service', () => {
    expect(holds({ from: ['checkout', 'web'] }, request('/', { caller: 'web' }))).toBe(true)
    expect(holds({ from: 'checkout' }, request('/', { caller: 'web' }))).toBe(false)
  })
})

describe('the order', () => {
  it('is that of the document, however specific a match is', () => {
    const routes = routesOf([{ path: '/items/*' }], [{ path: '/items/42' }], [{ headers: { 'x-a': '1' } }], undefined)
    expect(decide(routes, request('/items/42', { headers: { 'x-a': '1' } }))).toBe('r0')
    expect(decide(routes, request('/items', { headers: { 'x-a': '1' } }))).toBe('r2')
    expect(decide(routes, request('/items'))).toBe('r3')
  })

  it('holds for routes found by the value of a header', () => {
    const tenants = Array.from({ length: 50 }, (_, i) => [{ headers: { 'x-tenant': `${i}` } }])
    const routes = routesOf([{ headers: { 'x-a': '1' } }], ...tenants, [{ path: '/items' }], undefined)
    expect(decide(routes, request('/items', { headers: { 'x-tenant': '7' } }))).toBe('r8')
    expect(decide(routes, request('/items', { headers: { 'x-tenant': '7', 'x-a': '1' } }))).toBe('r0')
    expect(decide(routes, request('/items', { headers: { 'x-tenant': '99' } }))).toBe('r51')
    expect(decide(routes, request('/x', { headers: { 'x-tenant': '99' } }))).toBe('r52')
  })
})

const SEGMENTS = ['a', 'b', 'items', 'v1.2', 'x;y', '%41', '%C3%A9']
const NAMES = ['x-a', 'x-b', 'host', '__proto__', 'constructor']
const VALUES = ['1', '2', '*', 'a b', '']

const segment = fc.constantFrom(...SEGMENTS)
const pathText = fc
  .tuple(
    fc.array(fc.oneof({ weight: 3, arbitrary: segment }, fc.constantFrom('{id}', '{n}')), { maxLength: 4 }),
    fc.constantFrom('', '/', '/*'),
  )
  .map(([segments, end]) => `/${segments.join('/')}${segments.length === 0 ? end.slice(1) : end}`)
const plainPath = fc.array(segment, { maxLength: 4 }).map((segments) => `/${segments.join('/')}`)
const valueMatch = fc.oneof(
  fc.constantFrom(...VALUES),
  fc.constantFrom(...VALUES).map((exact) => ({ exact })),
  fc.constantFrom({ regex: '[0-9]' }, { regex: 'a.*' }),
)
const conditions = fc.uniqueArray(fc.tuple(fc.constantFrom(...NAMES), valueMatch), {
  minLength: 1,
  maxLength: 2,
  selector: ([name]) => name,
})
const named = conditions.map((entries) =>
  JSON.parse(`{${entries.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join()}}`),
)
const callers = fc.constantFrom('checkout', 'web')
const httpMatch = fc.record(
  {
    path: fc.oneof(
      { weight: 4, arbitrary: pathText },
      plainPath.map((prefix) => ({ prefix })),
      plainPath.map((exact) => ({ exact })),
      fc.constantFrom({ regex: '/(a|items)/.*' }, { regex: '/b.*' }),
    ),
    method: fc.constantFrom('GET', 'POST', ['GET', 'HEAD']),
    headers: named,
    query: named,
    from: callers,
  },
  { requiredKeys: [] },
)
const grpcMatch = fc.record(
  {
    grpc: fc.constantFrom('shop.A/Get', 'shop.A/*', '*/Get', 'shop.B/Put', { regex: 'shop.*/Get' }),
    headers: named,
    from: callers,
  },
  { requiredKeys: [] },
)
const documents = fc.array(
  fc.option(fc.array(fc.oneof({ weight: 3, arbitrary: httpMatch }, grpcMatch), { minLength: 1, maxLength: 3 }), {
    nil: undefined,
    freq: 12,
  }),
  { minLength: 1, maxLength: 12 },
)

const pathGiven = fc
  .tuple(
    fc.array(
      fc.oneof({ weight: 8, arbitrary: segment }, fc.constantFrom('', '.', '..', 'A', '%61', '%2F', '%zz', '%c3%a9')),
      { maxLength: 5 },
    ),
    fc.constantFrom('', '', '/'),
  )
  .map(([segments, end]) => `/${segments.join('/')}${end}`)
const queryGiven = fc
  .array(
    fc.tuple(
      fc.constantFrom(...NAMES, 'x%2da', ''),
      fc.constantFrom('', '=', '=1', '=2', '=*', '=a+b', '=a%20b', '=%', '=a=b'),
    ),
    { maxLength: 4 },
  )
  .map((parts) => (parts.length === 0 ? '' : `?${parts.map(([name, value]) => name + value).join('&')}`))
const headersGiven = fc
  .array(fc.tuple(fc.constantFrom(...NAMES), fc.constantFrom(...VALUES)), { maxLength: 3 })
  .map((entries) => new Map(entries))
const requests = fc.tuple(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        protocol: fc.constant('http'),
        method: fc.constantFrom('GET', 'HEAD', 'POST', 'PROPFIND'),
        path: fc.tuple(pathGiven, queryGiven).map((parts) => parts.join('')),
      }),
    },
    fc
      .constantFrom(
        '/shop.A/Get',
        '/shop.B/Get',
        '/shop.A/Put',
        '/shop.A',
        '/shop.A/Get/x',
        '/shop.A/Get?x',
        '//Get',
        'odd',
      )
      .map((method) => ({ protocol: 'grpc', method, path: method })),
  ),
  headersGiven,
  callers,
)

it('decides 10,000 random documents and requests as the naive evaluation does', () => {
  let routed = 0
  let later = 0
  fc.assert(
    fc.property(documents, fc.array(requests, { minLength: 3, maxLength: 6 }), (matches, asked) => {
      const routes = routesOf(...(matches as (readonly MatchOptions[] | undefined)[]))
      const tables = new Map<string, RouteTable>()
      for (const [{ protocol, method, path }, headers, caller] of asked) {
        const key = `${protocol} ${caller}`
        const table = tables.get(key) ?? new RouteTable(routes, caller, protocol, undefined, '1')
        tables.set(key, table)
        const head = { method, path, header: (name: string) => headers.get(name) }
        const found = table.find(head)
        expect(found?.name).toBe(firstMatch(routes, { head, protocol, caller, service: '1' })?.name)
        if (found !== undefined) routed += 1
        if (found !== undefined && found !== routes[0]) later += 1
      }
    }),
    { numRuns: 10_000 },
  )
  // The comparison is worth something only if many requests match, and not by the first route.
  expect(routed).toBeGreaterThan(5_000)
  expect(later).toBeGreaterThan(2_500)
}, 120_000)
