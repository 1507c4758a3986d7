/**
 * HTTPRoutes end to end, on real sockets. Each test names the case of the specification's mesh
 * profile (`conformance/tests/mesh`), or its text.
 */
import { describe, expect, it } from 'vitest'
import type { Mesh } from '../../src/index.ts'
import { failure } from '../client/http/opened.ts'
import { until } from '../client/http/rig.ts'
import { type Answered, type Ask, count, type RoutedMesh, routedMesh, type Seen } from '../client/routes/rig.ts'
import { httpRoute, to } from './manifests.ts'

/** A mesh with `echo-v1` and `echo-v2`, and a caller of `echo`. */
class Echo {
  readonly rig: RoutedMesh
  readonly caller: Mesh

  constructor(rig: RoutedMesh, caller: Mesh) {
    this.rig = rig
    this.caller = caller
  }

  ask(path: string, what: Ask = {}): Promise<Answered> {
    return this.rig.ask(this.caller, 'http', 'echo', { path, ...what })
  }

  /** What the last request looked like where it arrived. */
  get last(): Seen {
    return this.rig.seen.at(-1)!
  }
}

async function echo(manifests: readonly object[], documents: readonly object[] = []): Promise<Echo> {
  const rig = await routedMesh([])
  for (const name of ['echo', 'echo-v1', 'echo-v2']) await rig.instance(name, name)
  await rig.test.apply([...documents, ...manifests])
  return new Echo(rig, await rig.test.join('shop'))
}

const v1 = { backendRefs: [to('echo-v1')] }
const v2 = { backendRefs: [to('echo-v2')] }
const prefix = (value: string, extras: object = {}) => ({
  matches: [{ path: { type: 'PathPrefix', value } }],
  ...extras,
})
const rewritePath = (path: object) => ({ filters: [{ type: 'URLRewrite', urlRewrite: { path } }] })

describe('matching', () => {
  it('MeshHTTPRouteMatching: paths by segments, headers, and the most specific match', async () => {
    const mesh = await echo([
      httpRoute('matching', [
        { matches: [{ path: { value: '/' } }, { headers: [{ name: 'version', value: 'one' }] }], ...v1 },
        { matches: [{ path: { value: '/v2' } }, { headers: [{ name: 'version', value: 'two' }] }], ...v2 },
      ]),
    ])
    const cases: [string, string, string?][] = [
      ['/', 'echo-v1'],
      ['/example', 'echo-v1'],
      ['/', 'echo-v1', 'one'],
      ['/v2', 'echo-v2'],
      ['/v2/example', 'echo-v2'],
      ['/', 'echo-v2', 'two'],
      ['/v2/', 'echo-v2'],
      ['/v2example', 'echo-v1'],
      ['/foo/v2/example', 'echo-v1'],
    ]
    for (const [path, by, version] of cases) {
      const answer = await mesh.ask(path, version === undefined ? {} : { headers: { Version: version } })
      expect([path, version, answer.by]).toEqual([path, version, by])
    }
  })

  it('MeshHTTPRouteQueryParamMatching: parameters, alone and with paths and headers; else 404', async () => {
    const animal = (value: string) => ({ queryParams: [{ name: 'animal', value }] })
    const header = (value: string) => ({ headers: [{ name: 'version', value }] })
    const mesh = await echo([
      httpRoute('query', [
        { matches: [animal('whale')], ...v1 },
        { matches: [animal('dolphin')], ...v2 },
        { matches: [{ path: { value: '/path1' }, ...animal('whale') }], ...v1 },
        { matches: [{ ...header('one'), ...animal('whale') }], ...v2 },
        {
          matches: [
            { path: { value: '/path3' }, ...animal('shark') },
            { path: { value: '/path4' }, ...header('three'), ...animal('kraken') },
          ],
          ...v1,
        },
        { matches: [{ path: { value: '/path5' } }], ...v1 },
        { matches: [animal('hydra')], ...v2 },
      ]),
    ])
    const cases: [string, string | 404, string?][] = [
      ['/?animal=whale', 'echo-v1'],
      ['/?animal=dolphin', 'echo-v2'],
      ['/?animal=whale&otherparam=irrelevant', 'echo-v1'],
      ['/?animal=dolphin&color=yellow', 'echo-v2'],
      ['/?animal=dolphin&animal=whale', 'echo-v2'],
      ['/?color=blue', 404],
      ['/?animal=dog', 404],
      ['/?animal=whaledolphin', 404],
      ['/', 404],
      ['/path1?animal=whale', 'echo-v1'],
      ['/?animal=whale', 'echo-v2', 'one'],
      ['/path3?animal=shark', 'echo-v1'],
      ['/path4?animal=kraken', 'echo-v1', 'three'],
      ['/?animal=shark', 404],
      ['/path4?animal=kraken', 404],
      ['/path5?animal=hydra', 'echo-v1'],
    ]
    for (const [path, expected, version] of cases) {
      const answer = await mesh.ask(path, version === undefined ? {} : { headers: { version } })
      expect([path, version, answer.status === 200 ? answer.by : answer.status]).toEqual([path, version, expected])
    }
  })

  it('HTTPRouteMethodMatching: GET does not match HEAD', async () => {
    const mesh = await echo([httpRoute('method', [{ matches: [{ method: 'GET' }], ...v1 }])])
    expect((await mesh.ask('/')).by).toBe('echo-v1')
    expect((await mesh.ask('/', { method: 'HEAD' })).status).toBe(404)
    expect((await mesh.ask('/', { method: 'POST' })).status).toBe(404)
  })

  it('HTTPRouteMatch: an exact path is matched with its case and its final slash', async () => {
    const exact = { matches: [{ path: { type: 'Exact', value: '/abc' } }], ...v1 }
    const mesh = await echo([httpRoute('exact', [exact])])
    expect((await mesh.ask('/abc?x=1')).by).toBe('echo-v1')
    for (const path of ['/abc/', '/Abc', '/abcd', '/']) expect((await mesh.ask(path)).status).toBe(404)
  })

  it('HTTPHeaderMatch: names of any case; of equivalent names the first counts', async () => {
    const headers = [
      { name: 'X-Color', value: 'blue' },
      { name: 'x-color', value: 'red' },
    ]
    const mesh = await echo([httpRoute('headers', [{ matches: [{ headers }], ...v1 }])])
    expect((await mesh.ask('/', { headers: { 'x-COLOR': 'blue' } })).by).toBe('echo-v1')
    expect((await mesh.ask('/', { headers: { 'x-color': 'red' } })).status).toBe(404)
  })

  it('HTTPRouteSpec: several routes of one service are merged, and the older of equal ones wins', async () => {
    const mesh = await echo([httpRoute('z', [prefix('/a', v1)])])
    await mesh.rig.test.apply([httpRoute('a', [prefix('/a', v2), prefix('/a/b', v2)])])
    expect((await mesh.ask('/a')).by).toBe('echo-v1')
    expect((await mesh.ask('/a/b')).by).toBe('echo-v2')
    expect((await mesh.ask('/c')).status).toBe(404)
  })
})

describe('backends', () => {
  it('MeshHTTPRouteWeight: shares by weight', async () => {
    const backendRefs = [to('echo-v1', { weight: 70 }), to('echo-v2', { weight: 30 })]
    const mesh = await echo([httpRoute('weights', [{ backendRefs }])])
    const by = count(await mesh.rig.tally(mesh.caller, 'http', 'echo', 100))
    expect(by).toEqual({ 'echo-v1': 70, 'echo-v2': 30 })
  })

  it('MeshTrafficSplit: exact paths lead to different backends', async () => {
    const at = (value: string, backend: object) => ({ matches: [{ path: { type: 'Exact', value } }], ...backend })
    const mesh = await echo([httpRoute('split', [at('/v1', v1), at('/v2', v2)])])
    expect((await mesh.ask('/v1')).by).toBe('echo-v1')
    expect((await mesh.ask('/v2')).by).toBe('echo-v2')
  })

  it('BackendRefs: one that does not exist keeps its share, and fails at once with 500', async () => {
    const mesh = await echo([httpRoute('ghost', [{ backendRefs: [to('echo-v1'), to('ghost')] }])])
    const statuses: number[] = []
    for (let i = 0; i < 10; i++) statuses.push((await mesh.ask('/')).status)
    expect(statuses.filter((status) => status === 500)).toHaveLength(5)
    expect(statuses.filter((status) => status === 200)).toHaveLength(5)
  })

  it('BackendRefs: none at all, and none that exists, is 500', async () => {
    const mesh = await echo([httpRoute('none', [prefix('/none'), prefix('/ghost', { backendRefs: [to('ghost')] })])])
    expect((await mesh.ask('/none')).status).toBe(500)
    expect((await mesh.ask('/ghost')).status).toBe(500)
  })

  it('MeshFrontend: routes belong to the name that is called; a backend means endpoints', async () => {
    const set = { type: 'ResponseHeaderModifier', responseHeaderModifier: { set: [{ name: 'x-set', value: 'yes' }] } }
    const mesh = await echo([
      httpRoute('self', [{ filters: [set], backendRefs: [to('echo')] }]),
      httpRoute('v1', [{ filters: [set], backendRefs: [to('echo-v2')] }], { parent: { name: 'echo-v1' } }),
      httpRoute('v2', [{ backendRefs: [to('echo-v1')] }], { parent: { name: 'echo-v2' } }),
    ])
    const own = await mesh.ask('/')
    expect([own.by, own.headers.get('x-set')]).toEqual(['echo', 'yes'])
    const crossed = await mesh.rig.ask(mesh.caller, 'http', 'echo-v1')
    expect([crossed.by, crossed.headers.get('x-set')]).toEqual(['echo-v2', 'yes'])
    const back = await mesh.rig.ask(mesh.caller, 'http', 'echo-v2')
    expect([back.by, back.headers.has('x-set')]).toEqual(['echo-v1', false])
  })

  it('GEP-1294: a name without endpoints may be the parent of routes', async () => {
    const rig = await routedMesh([])
    await rig.instance('echo-v1', 'echo-v1')
    await rig.test.apply([httpRoute('front', [prefix('/a', v1), prefix('/self', { backendRefs: [to('echo')] })])])
    const caller = await rig.test.join('shop')
    expect((await rig.ask(caller, 'http', 'echo', { path: '/a' })).by).toBe('echo-v1')
    expect((await rig.ask(caller, 'http', 'echo', { path: '/b' })).status).toBe(404)
    expect((await rig.ask(caller, 'http', 'echo', { path: '/self' })).status).toBe(500)
  })

  it('BackendRefs: one that appears gets its share, and one that is only named gets none', async () => {
    const rig = await routedMesh([])
    await rig.test.apply([httpRoute('late', [{ backendRefs: [to('late')] }])])
    const caller = await rig.test.join('shop')
    expect((await rig.ask(caller, 'http', 'echo')).status).toBe(500)
    await rig.instance('late', 'late-1')
    await until(async () => (await rig.ask(caller, 'http', 'echo')).by === 'late-1')
  })

  it('MeshConsumerRoute: only callers of the namespace of the route are concerned', async () => {
    const set = { type: 'ResponseHeaderModifier', responseHeaderModifier: { set: [{ name: 'x-set', value: 'yes' }] } }
    const mesh = await echo([
      httpRoute('consumer', [{ filters: [set], ...v1 }], { namespace: 'shop', parent: { namespace: 'default' } }),
    ])
    const consumer = await mesh.rig.test.join('cart', { metadata: { namespace: 'shop' } })
    const concerned = await mesh.rig.ask(consumer, 'http', 'echo')
    expect([concerned.by, concerned.headers.get('x-set')]).toEqual(['echo-v1', 'yes'])
    const other = await mesh.ask('/')
    expect([other.by, other.headers.has('x-set')]).toEqual(['echo', false])
  })
})

describe('filters', () => {
  const changes = {
    set: [{ name: 'X-Header-Set', value: 'set-overwrites-values' }],
    add: [
      { name: 'X-Header-Add', value: 'header-val-1' },
      { name: 'X-Header-Add-Append', value: 'header-val-2' },
    ],
    remove: ['X-Header-Remove'],
  }
  const given = { 'x-header-remove': 'val', 'X-Header-Add-Append': 'append-val-1', 'x-header-set': 'set-val' }
  const expected = {
    'x-header-set': 'set-overwrites-values',
    'x-header-add': 'header-val-1',
    'x-header-add-append': 'append-val-1, header-val-2',
  }

  it('MeshHTTPRouteRequestHeaderModifier: set, add and remove', async () => {
    const filters = [{ type: 'RequestHeaderModifier', requestHeaderModifier: changes }]
    const mesh = await echo([httpRoute('headers', [{ filters, ...v1 }])])
    await mesh.ask('/', { headers: given })
    expect(mesh.last.headers).toMatchObject(expected)
    expect(mesh.last.headers).not.toHaveProperty('x-header-remove')
  })

  it('MeshHTTPRouteBackendRequestHeaderModifier: of one backend only', async () => {
    const filters = [{ type: 'RequestHeaderModifier', requestHeaderModifier: changes }]
    const mesh = await echo([httpRoute('headers', [{ backendRefs: [to('echo-v1', { filters }), to('echo-v2')] }])])
    for (let i = 0; i < 4; i++) await mesh.ask('/', { headers: given })
    for (const { by, headers } of mesh.rig.seen) {
      expect([by, headers['x-header-set']]).toEqual([by, by === 'echo-v1' ? 'set-overwrites-values' : 'set-val'])
    }
  })

  it('MeshHTTPRouteRewritePath: prefixes, whole paths, and headers beside', async () => {
    const replace = (replacePrefixMatch: string) => rewritePath({ type: 'ReplacePrefixMatch', replacePrefixMatch })
    const full = (replaceFullPath: string) => rewritePath({ type: 'ReplaceFullPath', replaceFullPath })
    const header = { type: 'RequestHeaderModifier', requestHeaderModifier: changes }
    const both = { filters: [...full('/test').filters, header] }
    const mesh = await echo([
      httpRoute('rewrite', [
        prefix('/prefix/one', { ...replace('/one'), ...v1 }),
        prefix('/strip-prefix', { ...replace('/'), ...v1 }),
        prefix('/full/one', { ...full('/one'), ...v1 }),
        prefix('/full/both', { ...both, ...v1 }),
      ]),
    ])
    const cases = [
      ['/prefix/one/two', '/one/two'],
      ['/strip-prefix/three', '/three'],
      ['/strip-prefix', '/'],
      ['/full/one/two?q=1', '/one?q=1'],
    ] as const
    for (const [path, arrives] of cases) {
      await mesh.ask(path)
      expect([path, mesh.last.path]).toEqual([path, arrives])
    }
    await mesh.ask('/full/both/x', { headers: given })
    expect(mesh.last).toMatchObject({ path: '/test', headers: expected })
  })

  it.each([
    ['/foo/bar', '/foo', '/xyz', '/xyz/bar'],
    ['/foo/bar', '/foo', '/xyz/', '/xyz/bar'],
    ['/foo/bar', '/foo/', '/xyz', '/xyz/bar'],
    ['/foo/bar', '/foo/', '/xyz/', '/xyz/bar'],
    ['/foo', '/foo', '/xyz', '/xyz'],
    ['/foo/', '/foo', '/xyz', '/xyz/'],
    ['/foo/bar', '/foo', '', '/bar'],
    ['/foo/', '/foo', '', '/'],
    ['/foo', '/foo', '', '/'],
    ['/foo/', '/foo', '/', '/'],
    ['/foo', '/foo', '/', '/'],
    ['/foo/bar?x=/foo', '/foo', '/', '/bar?x=/foo'],
  ])('ReplacePrefixMatch: %s with the prefix %s replaced by %j is %s', async (path, match, by, arrives) => {
    const rewrite = rewritePath({ type: 'ReplacePrefixMatch', replacePrefixMatch: by })
    const mesh = await echo([httpRoute('rewrite', [prefix(match, { ...rewrite, ...v1 })])])
    await mesh.ask(path)
    expect(mesh.last.path).toBe(arrives)
  })

  it('HTTPRouteHostRewrite: the backend sees what the caller wrote, unless the host is rewritten', async () => {
    const filters = [{ type: 'URLRewrite', urlRewrite: { hostname: 'one.example.org' } }]
    const mesh = await echo([httpRoute('host', [prefix('/one', { filters, ...v1 }), prefix('/two', v2)])])
    await mesh.ask('/one')
    expect(mesh.last.headers.host).toBe('one.example.org')
    await mesh.ask('/two')
    expect(mesh.last.headers.host).toBe('echo')
  })

  const redirect = (value: string, requestRedirect: object) =>
    prefix(value, { filters: [{ type: 'RequestRedirect', requestRedirect }] })
  const example = { hostname: 'example.org' }
  const replacePrefix = { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/new' } }
  const replaceAll = { path: { type: 'ReplaceFullPath', replaceFullPath: '/all' } }

  it.each([
    ['MeshHTTPRouteRedirectHostAndStatus', '/a', example, 302, 'http://example.org/a'],
    ['MeshHTTPRouteRedirectHostAndStatus', '/a', { ...example, statusCode: 301 }, 301, 'http://example.org/a'],
    ['MeshHTTPRoute303Redirect', '/a', { statusCode: 303 }, 303, 'http://echo/a'],
    ['MeshHTTPRoute307Redirect', '/a', { ...example, statusCode: 307 }, 307, 'http://example.org/a'],
    ['MeshHTTPRoute308Redirect', '/a', { ...example, statusCode: 308 }, 308, 'http://example.org/a'],
    ['MeshHTTPRouteRedirectPath', '/a/lemon?x=1', replacePrefix, 302, 'http://echo/new/lemon?x=1'],
    ['MeshHTTPRouteRedirectPath', '/a/b', replaceAll, 302, 'http://echo/all'],
    ['MeshHTTPRouteRedirectPath', '/a', { ...replacePrefix, ...example }, 302, 'http://example.org/new'],
    ['MeshHTTPRouteRedirectPort', '/a', { port: 8083 }, 302, 'http://echo:8083/a'],
    ['MeshHTTPRouteRedirectPort', '/a', { port: 8083, ...example }, 302, 'http://example.org:8083/a'],
    ['MeshHTTPRouteRedirectPort', '/a', { port: 80, ...example }, 302, 'http://example.org/a'],
    ['MeshHTTPRouteSchemeRedirect', '/a', { scheme: 'https' }, 302, 'https://echo/a'],
    ['MeshHTTPRouteSchemeRedirect', '/a', { scheme: 'https', ...example }, 302, 'https://example.org/a'],
    ['MeshHTTPRouteSchemeRedirect', '/a', { scheme: 'https', port: 443, ...example }, 302, 'https://example.org/a'],
  ])('%s: %s with %j is %i to %s', async (_case, path, requestRedirect, status, location) => {
    const mesh = await echo([httpRoute('redirect', [redirect('/a', requestRedirect)])])
    const answer = await mesh.ask(path)
    expect([answer.status, answer.headers.get('location')]).toEqual([status, location])
    expect(mesh.rig.seen).toHaveLength(0)
  })
})

describe('timeouts and retries', () => {
  /** Caller and server know the deadline, and the first to see it over ends the call. */
  const timedOut = (asked: Promise<Answered>): Promise<boolean> =>
    asked.then(
      ({ status }) => status === 504,
      (error: { code?: string }) => error.code === 'deadline-exceeded',
    )

  it('HTTPRouteTimeouts: request ends the call, whatever the mesh allows', async () => {
    const mesh = await echo([httpRoute('slow', [{ timeouts: { request: '80ms' }, ...v1 }])])
    mesh.rig.scripts.set('echo-v1', () => new Promise(() => {}))
    expect(await timedOut(mesh.ask('/'))).toBe(true)
  })

  it("HTTPRouteTimeouts: '0s' lifts a timeout that the mesh set", async () => {
    const rules = [prefix('/lifted', { timeouts: { request: '0s' }, ...v1 }), prefix('/bounded', v1)]
    const mesh = await echo([httpRoute('slow', rules)], [{ service: 'mesh', timeout: '100ms' }])
    mesh.rig.scripts.set('echo-v1', () => new Promise((resolve) => setTimeout(resolve, 300, 0)))
    expect(await timedOut(mesh.ask('/bounded'))).toBe(true)
    expect((await mesh.ask('/lifted')).status).toBe(200)
  })

  it('HTTPRouteTimeouts: backendRequest bounds each attempt, the last and only one too', async () => {
    const mesh = await echo([httpRoute('slow', [{ timeouts: { backendRequest: '60ms' }, ...v1 }])])
    mesh.rig.scripts.set('echo-v1', () => new Promise(() => {}))
    const error = await failure(mesh.ask('/', { method: 'POST' }))
    expect([error.code, error.attempts.length]).toEqual(['attempt-timeout', 1])
  })

  it('HTTPRouteRetry: attempts counts retries, of the codes listed, and backoff is the least wait', async () => {
    const retry = { attempts: 2, codes: [500], backoff: '50ms' }
    const mesh = await echo([httpRoute('retry', [{ retry, ...v1 }])])
    const at: number[] = []
    mesh.rig.scripts.set('echo-v1', () => {
      at.push(performance.now())
      return 500
    })
    expect((await mesh.ask('/')).status).toBe(500)
    expect(at).toHaveLength(3)
    for (const [i, now] of at.slice(1).entries()) expect(now - at[i]!).toBeGreaterThanOrEqual(45)
    mesh.rig.scripts.set('echo-v1', () => 503)
    const before = mesh.rig.seen.length
    expect((await mesh.ask('/')).status).toBe(503)
    expect(mesh.rig.seen.length - before).toBe(1)
  })
})

describe('mirrors', () => {
  const mirror = (extras: object = {}) => ({
    type: 'RequestMirror',
    requestMirror: { backendRef: to('echo-v2'), ...extras },
  })
  const arrived = (mesh: Echo, by: string) => mesh.rig.seen.filter((seen) => seen.by === by).length

  it('HTTPRouteRequestMirror: a copy goes to the mirror, whose answer is ignored', async () => {
    const mesh = await echo([httpRoute('mirror', [{ filters: [mirror()], ...v1 }])])
    mesh.rig.scripts.set('echo-v2', () => 500)
    const answer = await mesh.ask('/copied?x=1')
    expect([answer.status, answer.by]).toEqual([200, 'echo-v1'])
    await until(() => arrived(mesh, 'echo-v2') === 1)
    expect(mesh.rig.seen.find(({ by }) => by === 'echo-v2')?.path).toBe('/copied?x=1')
  })

  it('HTTPRouteRequestMultipleMirrors: each gets a copy', async () => {
    const self = { type: 'RequestMirror', requestMirror: { backendRef: to('echo') } }
    const mesh = await echo([httpRoute('mirrors', [{ filters: [mirror(), self], ...v1 }])])
    await mesh.ask('/')
    await until(() => arrived(mesh, 'echo-v2') === 1 && arrived(mesh, 'echo') === 1)
    expect(arrived(mesh, 'echo-v1')).toBe(1)
  })

  it('HTTPRouteRequestPercentageMirror: percent and fraction; nothing for 0', async () => {
    const fraction = mirror({ fraction: { numerator: 1, denominator: 2 } })
    const mesh = await echo([
      httpRoute('share', [
        prefix('/half', { filters: [fraction], ...v1 }),
        prefix('/none', { filters: [mirror({ percent: 0 })], ...v1 }),
        prefix('/all', { filters: [mirror({ percent: 100 })], ...v1 }),
      ]),
    ])
    for (let i = 0; i < 10; i++) await mesh.ask('/none')
    for (let i = 0; i < 5; i++) await mesh.ask('/all')
    await until(() => arrived(mesh, 'echo-v2') === 5)
    for (let i = 0; i < 100; i++) await mesh.ask('/half')
    await until(() => arrived(mesh, 'echo-v2') >= 25)
    expect(arrived(mesh, 'echo-v2')).toBeLessThanOrEqual(5 + 80)
  })
})
