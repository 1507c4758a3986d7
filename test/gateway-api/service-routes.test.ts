/** The specification's precedence, and what rules mean in the words of our documents. */
import { describe, expect, test } from 'vitest'
import { withManifests } from '../../src/gateway-api/attach.ts'
import { checkManifest } from '../../src/gateway-api/check-manifest.ts'
import { routesOf } from '../../src/gateway-api/service-routes.ts'
import { attached, grpcRoute, httpRoute, routes, to } from './manifests.ts'

const forward = { backendRefs: [to('echo-v1')] }

/** Of the only rule, without its name and its match. */
function actionsOf(rule: object, missing: readonly string[] = []): Record<string, unknown> {
  const [route] = routes([httpRoute('one', [{ ...forward, ...rule }])], missing)
  const { name: _, match: __, ...actions } = route!
  return actions
}

function matchOf(match: object): unknown {
  return routes([httpRoute('one', [{ matches: [match], ...forward }])])[0]!.match[0]
}

const names = (...manifests: object[]) => routes(manifests).map(({ name }) => name)

describe('precedence of HTTPRoute', () => {
  const path = (type: string, value: string, extras: object = {}) => ({
    matches: [{ path: { type, value }, ...extras }],
    ...forward,
  })

  test('exact paths, then regular expressions, then longer prefixes, whatever the order of the rules', () => {
    const rules = [
      path('PathPrefix', '/'),
      path('PathPrefix', '/a/b'),
      path('PathPrefix', '/a'),
      path('RegularExpression', '/a/.*'),
      path('Exact', '/a'),
    ]
    expect(names(httpRoute('one', rules))).toEqual([
      'default/one/4',
      'default/one/3',
      'default/one/1',
      'default/one/2',
      'default/one/0',
      'unmatched-http',
    ])
  })

  test('then the method, then the number of headers, then that of query parameters', () => {
    const header = (count: number) => ({
      headers: Array.from({ length: count }, (_, i) => ({ name: `h${i}`, value: 'a' })),
    })
    const query = (count: number) => ({
      queryParams: Array.from({ length: count }, (_, i) => ({ name: `q${i}`, value: 'a' })),
    })
    const rules = [
      path('PathPrefix', '/a', query(3)),
      path('PathPrefix', '/a', { ...header(1), ...query(1) }),
      path('PathPrefix', '/a', { ...header(1), ...query(2) }),
      path('PathPrefix', '/a', header(2)),
      path('PathPrefix', '/a', { method: 'GET' }),
    ]
    expect(names(httpRoute('one', rules)).slice(0, 5)).toEqual([4, 3, 2, 1, 0].map((i) => `default/one/${i}`))
  })

  test('headers of equivalent names count once', () => {
    const twice = {
      headers: [
        { name: 'A', value: '1' },
        { name: 'a', value: '2' },
      ],
    }
    const rules = [path('PathPrefix', '/a', twice), path('PathPrefix', '/a', { headers: twice.headers.slice(0, 1) })]
    expect(names(httpRoute('one', rules)).slice(0, 2)).toEqual(['default/one/0', 'default/one/1'])
  })

  test('each match of a rule counts by itself', () => {
    const rules = [
      { matches: [{ path: { value: '/' } }, { headers: [{ name: 'version', value: 'one' }] }], ...forward },
      { matches: [{ path: { value: '/v2' } }, { headers: [{ name: 'version', value: 'two' }] }], ...forward },
    ]
    expect(names(httpRoute('one', rules)).slice(0, 4)).toEqual([
      'default/one/1/0',
      'default/one/0/1',
      'default/one/1/1',
      'default/one/0/0',
    ])
  })

  test('of equal matches that of the older route wins, then that of the first name', () => {
    const same = [path('PathPrefix', '/a')]
    expect(names(httpRoute('z', same), httpRoute('a', same)).slice(0, 2)).toEqual(['default/z/0', 'default/a/0'])
    const manifests = attached([httpRoute('z', same), httpRoute('a', same)])
    const twins = manifests.map(({ route }) => ({ route, createdAt: 1 }))
    expect(
      routesOf('echo', twins, () => true)
        .map(({ name }) => name)
        .slice(0, 2),
    ).toEqual(['default/a/0', 'default/z/0'])
  })

  test('of equal matches of one route that of the first rule wins', () => {
    expect(names(httpRoute('one', [path('Exact', '/a'), path('Exact', '/a')])).slice(0, 2)).toEqual([
      'default/one/0',
      'default/one/1',
    ])
  })

  test('a final slash makes a prefix no longer', () => {
    const rules = [path('PathPrefix', '/a'), path('PathPrefix', '/a/')]
    expect(names(httpRoute('one', rules)).slice(0, 2)).toEqual(['default/one/0', 'default/one/1'])
  })
})

describe('precedence of GRPCRoute', () => {
  const call = (method: object, headers: object[] = []) => ({ matches: [{ method, headers }], ...forward })

  test('characters of the service, then of the method, then the number of headers', () => {
    const rules = [
      { ...forward },
      call({ method: 'LongMethodName' }),
      call({ service: 'a.B' }),
      call({ service: 'a.B' }, [{ name: 'x', value: '1' }]),
      call({ service: 'a.B', method: 'C' }),
      call({ service: 'a.Bc' }),
    ]
    expect(names(grpcRoute('one', rules))).toEqual([
      ...[5, 4, 3, 2, 1, 0].map((i) => `default/one/${i}`),
      'unmatched-grpc',
    ])
  })
})

describe('conditions', () => {
  test('a rule without matches concerns every request of its protocol', () => {
    expect(routes([httpRoute('one', [forward])])[0]!.match).toEqual([{ path: { prefix: '/' } }])
    expect(routes([grpcRoute('one', [forward])])[0]!.match).toEqual([{ grpc: '*/*' }])
  })

  test('paths, methods, headers and parameters', () => {
    expect(
      matchOf({
        path: { type: 'Exact', value: '/a/*' },
        method: 'GET',
        headers: [
          { name: 'X-A', value: '1' },
          { name: 'x-a', value: '2' },
          { name: 'x-star', value: '*' },
          { type: 'RegularExpression', name: '__proto__', value: 'a+' },
        ],
        queryParams: [
          { name: 'A', value: '1' },
          { name: 'a', value: '2' },
        ],
      }),
    ).toEqual({
      path: { exact: '/a/*' },
      method: 'GET',
      headers: Object.fromEntries([
        ['x-a', '1'],
        ['x-star', { exact: '*' }],
        ['__proto__', { regex: 'a+' }],
      ]),
      query: { A: '1', a: '2' },
    })
  })

  test('gRPC services and methods', () => {
    const rules = [
      { matches: [{ method: { service: 'a.B', method: 'C' } }], ...forward },
      { matches: [{ method: { service: 'a.B' } }], ...forward },
      { matches: [{ method: { method: 'C' } }], ...forward },
      { matches: [{ method: { type: 'RegularExpression', service: 'a\\..*' } }], ...forward },
    ]
    const found = new Map(routes([grpcRoute('one', rules)]).map(({ name, match }) => [name, match[0]!.grpc]))
    expect([0, 1, 2, 3].map((i) => found.get(`default/one/${i}`))).toEqual([
      'a.B/C',
      'a.B/*',
      '*/C',
      { regex: '(?:a\\..*)/[^/]+' },
    ])
  })
})

describe('backends', () => {
  const missing = { status: 500, grpcStatus: 'UNAVAILABLE', body: 'no backend' }

  test('one backend is the target', () => {
    expect(actionsOf({})).toEqual({ to: { service: 'echo-v1' } })
  })

  test('weights, of which 1 is the default', () => {
    const backendRefs = [to('echo-v1', { weight: 70 }), to('echo-v2'), to('echo-v3', { weight: 0 })]
    expect(actionsOf({ backendRefs })).toEqual({
      split: [
        { to: { service: 'echo-v1' }, weight: 70 },
        { to: { service: 'echo-v2' }, weight: 1 },
        { to: { service: 'echo-v3' }, weight: 0 },
      ],
    })
  })

  test('a backend that does not exist keeps its share', () => {
    const backendRefs = [to('echo-v1'), to('ghost')]
    expect(actionsOf({ backendRefs }, ['ghost']).split).toEqual([
      { to: { service: 'echo-v1' }, weight: 1 },
      { to: { service: 'ghost', missing: true }, weight: 1 },
    ])
  })

  test.each([
    ['no backendRefs', { backendRefs: undefined }],
    ['an empty list', { backendRefs: [] }],
    ['backends of which none exists', { backendRefs: [to('ghost'), to('ghost-2')] }],
    ['weights that are all 0', { backendRefs: [to('echo-v1', { weight: 0 })] }],
  ])('%s: 500, or UNAVAILABLE', (_what, rule) => {
    expect(actionsOf(rule, ['ghost', 'ghost-2'])).toEqual({ respond: missing })
  })

  test('a backend may change headers of its own', () => {
    const filters = [{ type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name: 'X-A', value: '1' }] } }]
    expect(actionsOf({ backendRefs: [to('echo-v1', { filters })] })).toEqual({
      split: [{ to: { service: 'echo-v1' }, weight: 1, headers: { request: { set: { 'x-a': '1' } } } }],
    })
  })

  test('the same backend twice has both weights', () => {
    const backendRefs = [to('echo-v1', { weight: 2 }), to('echo-v2'), to('echo-v1', { weight: 3 })]
    expect(actionsOf({ backendRefs }).split).toEqual([
      { to: { service: 'echo-v1' }, weight: 5 },
      { to: { service: 'echo-v2' }, weight: 1 },
    ])
  })
})

describe('filters', () => {
  const only = (filter: object, rule: object = {}) => actionsOf({ filters: [filter], ...rule })

  test('headers: of equivalent names in a list the first counts', () => {
    const requestHeaderModifier = {
      set: [
        { name: 'X-A', value: 'first' },
        { name: 'x-a', value: 'second' },
      ],
      add: [{ name: 'b', value: '1,2' }],
      remove: ['C', 'c'],
    }
    expect(only({ type: 'RequestHeaderModifier', requestHeaderModifier }).headers).toEqual({
      request: { set: { 'x-a': 'first' }, add: { b: '1,2' }, remove: ['c'] },
    })
  })

  test('redirects are 302 by default, and have no target', () => {
    const requestRedirect = { hostname: 'a.example', port: 8080 }
    expect(only({ type: 'RequestRedirect', requestRedirect }, { backendRefs: undefined })).toEqual({
      redirect: { status: 302, host: 'a.example', port: 8080 },
    })
  })

  test.each([
    ['/xyz', '/xyz'],
    ['/xyz/', '/xyz'],
    ['', '/'],
    ['/', '/'],
  ])('the prefix %j as a replacement is %j', (replacePrefixMatch, prefix) => {
    const urlRewrite = { path: { type: 'ReplacePrefixMatch', replacePrefixMatch }, hostname: 'a.example' }
    const filters = [{ type: 'URLRewrite', urlRewrite }]
    expect(actionsOf({ matches: [{ path: { value: '/foo' } }], filters }).rewrite).toEqual({
      host: 'a.example',
      path: { prefix },
    })
  })

  test.each([
    [{}, 1],
    [{ percent: 5 }, 0.05],
    [{ fraction: { numerator: 1, denominator: 3 } }, 1 / 3],
    [{ fraction: { numerator: 50 } }, 0.5],
  ])('a mirror with %j copies the share %d', (part, share) => {
    const requestMirror = { backendRef: to('shadow'), ...part }
    expect(only({ type: 'RequestMirror', requestMirror }).mirror).toEqual([{ to: { service: 'shadow' }, share }])
  })

  test('a mirror of nothing, and one of a service that does not exist, are dropped', () => {
    const mirror = (part: object) => ({ type: 'RequestMirror', requestMirror: { backendRef: to('shadow'), ...part } })
    expect(only(mirror({ percent: 0 })).mirror).toBeUndefined()
    expect(actionsOf({ filters: [mirror({})] }, ['shadow']).mirror).toBeUndefined()
  })
})

describe('timeouts and retries', () => {
  test("'request' bounds the call, 'backendRequest' every attempt", () => {
    expect(actionsOf({ timeouts: { request: '1h30m', backendRequest: '500ms' } })).toMatchObject({
      timeout: '90m',
      retry: { perTryTimeout: '500ms', boundLastTry: true },
    })
  })

  test("'0s' is the longest time there is", () => {
    expect(actionsOf({ timeouts: { request: '0s', backendRequest: '0s' } })).toMatchObject({
      timeout: '1d',
      retry: { perTryTimeout: '1d' },
    })
  })

  test("'0s' for an attempt leaves it the time of the call", () => {
    const timeouts = { request: '1h30m', backendRequest: '0s' }
    expect(actionsOf({ timeouts })).toMatchObject({ timeout: '90m', retry: { perTryTimeout: '90m' } })
    expect(checkManifest(httpRoute('one', [{ ...forward, timeouts }]))).toEqual([])
  })

  test('attempts count retries, and backoff is the least wait', () => {
    expect(actionsOf({ retry: { attempts: 2, codes: [500, 503], backoff: '100ms' } }).retry).toEqual({
      attempts: 3,
      statuses: [500, 503],
      backoff: { least: '100ms', base: '100ms', max: '1s' },
    })
  })
})

describe('session persistence', () => {
  test('by a header, or by a cookie with the name that the manifest gives it', () => {
    const header = { type: 'Header', header: { name: 'X-Session' }, absoluteTimeout: '1h' }
    expect(actionsOf({ sessionPersistence: header }).session).toEqual({ header: 'x-session', lifetime: '1h' })
    const cookie = { cookie: { name: 'stay', path: '/shop', lifetimeType: 'Permanent' }, absoluteTimeout: '24h' }
    expect(actionsOf({ sessionPersistence: cookie }).session).toEqual({
      ...{ cookie: 'stay', path: '/shop' },
      ...{ permanent: true, lifetime: '1d' },
    })
  })

  test('a cookie without a name has a unique one for each rule', () => {
    const rule = (value: string) => ({ matches: [{ path: { value } }], ...forward, sessionPersistence: {} })
    const cookies = routes([httpRoute('one', [rule('/a'), rule('/b')])]).map(
      ({ session }) => (session as { cookie: string } | undefined)?.cookie,
    )
    expect(new Set(cookies).size).toBe(3)
    expect(cookies[0]).toMatch(/^inmesh-[0-9a-f]{16}$/)
  })
})

describe('services and namespaces', () => {
  test('what no rule matches is refused, by the protocol of the route', () => {
    expect(routes([httpRoute('one', [forward])]).at(-1)).toEqual({
      name: 'unmatched-http',
      match: [{ path: { prefix: '/' } }],
      respond: { status: 404 },
    })
    expect(routes([grpcRoute('one', [forward])]).at(-1)).toEqual({
      name: 'unmatched-grpc',
      match: [{ grpc: '*/*' }],
      respond: { grpcStatus: 'UNIMPLEMENTED' },
    })
  })

  test('routes of consumers come first, and replace those of the producer for their namespace', () => {
    const consumer = { namespace: 'shop', parent: { namespace: 'default' } }
    const found = routes([httpRoute('one', [forward]), httpRoute('two', [forward], consumer)])
    expect(found.map(({ name, match }) => [name, match[0]!.fromNamespace])).toEqual([
      ['shop/two/0', 'shop'],
      ['shop/unmatched-http', 'shop'],
      ['default/one/0', undefined],
      ['unmatched-http', undefined],
    ])
  })

  test('a service that no manifest is attached to keeps its document', () => {
    const own = { service: 'other', timeout: '1s' }
    expect(withManifests('other', own, attached([httpRoute('one', [forward])]), () => true)).toBe(own)
  })

  test('a service needs no document, and keeps the routes of its own before those of manifests', () => {
    const manifests = attached([httpRoute('one', [forward])])
    expect(withManifests('echo', null, manifests, () => true)).toMatchObject({ service: 'echo' })
    const own = { service: 'echo', timeout: '1s', routes: [{ name: 'unmatched-http', match: [{ method: 'PUT' }] }] }
    const merged = withManifests('echo', own, manifests, () => true)
    expect(merged).toMatchObject({ service: 'echo', timeout: '1s' })
    expect((merged!.routes as { name: string }[]).map(({ name }) => name)).toEqual(['unmatched-http', 'default/one/0'])
  })

  test('what an earlier route covers is left out', () => {
    const same = (name: string) => httpRoute(name, [{ matches: [{ path: { value: '/a' } }], ...forward }])
    const merged = withManifests('echo', null, attached([same('z'), same('a')]), () => true)
    expect((merged!.routes as { name: string }[]).map(({ name }) => name)).toEqual(['default/z/0', 'unmatched-http'])
  })

  test('rules have the names that the manifest gives them', () => {
    expect(names(httpRoute('one', [{ name: 'named-rule', ...forward }]))[0]).toBe('default/one/named-rule')
  })
})
