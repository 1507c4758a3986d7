import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RequestHead } from '../../src/core/request-head.ts'
import { checkMergedDocument, checkPolicyDocument, checkReceivedDocument } from '../../src/discovery/check-document.ts'
import { type PolicyDocument, resolvePolicy } from '../../src/discovery/policy-document.ts'
import { describeIssue } from '../../src/options/fields.ts'
import { covers } from '../../src/routing/covers.ts'
import { failedCondition } from '../../src/routing/first-match.ts'
import type { MatchOptions } from '../../src/routing/match.ts'
import type { MatchSettings } from '../../src/routing/settings.ts'
import { unreachableRoutes } from '../../src/routing/unreachable.ts'

function mistakes(change: object): string[] {
  return checkPolicyDocument({ service: 'inventory', ...change }).map(describeIssue)
}

const subsets = { blue: { version: 'v1' }, green: { version: 'v2' } }
const split = [
  { to: 'blue', weight: 1 },
  { to: 'green', weight: 1 },
]

function route(keys: object): object {
  return { subsets, routes: [{ name: 'a', ...keys }] }
}

function match(...alternatives: object[]): object {
  return route({ match: alternatives })
}

describe('a header that no route can read', () => {
  it.each(['content-length', 'te', 'Transfer-Encoding', 'connection', 'expect', 'inmesh-timeout-ms', 'client-cert'])(
    'is refused in a match: %s',
    (name) => {
      const [mistake] = mistakes(match({ path: '/a', headers: { [name]: '*' } }))
      expect(mistake).toContain(`routes[0].match[0].headers.${name.toLowerCase()}: "${name.toLowerCase()}" `)
    },
  )

  it.each(['x-token-bin', 'user-agent', 'content-type', 'grpc-timeout'])(
    'is refused in a match of gRPC: %s',
    (name) => {
      expect(mistakes(match({ grpc: 'a.B/C', headers: { [name]: '*' } }))).toHaveLength(1)
      expect(mistakes(match({ path: '/a', headers: { [name]: '*' } }))).toEqual([])
    },
  )

  it('is refused as a sticky key, and binary metadata where it may be of gRPC', () => {
    const sticky = (header: string): string[] => mistakes(route({ split, sticky: { header } }))
    expect(sticky('x-user')).toEqual([])
    for (const name of ['x-user-bin', 'content-length', 'host', 'inmesh-user']) {
      expect(sticky(name)).toEqual([expect.stringContaining('routes[0].sticky.header: ')])
    }
    expect(mistakes(match({ headers: { 'x-user-bin': '*' } }))).toEqual([
      `routes[0].match[0].headers.x-user-bin: "x-user-bin" is binary metadata in gRPC, which routes do not read; expected one whose name does not end with '-bin'`,
    ])
    expect(mistakes(match({ headers: { host: 'inventory' } }))).toEqual([])
  })
})

describe('a level of failover that takes no endpoint', () => {
  it.each<[object[], number, number]>([
    [[{ zone: 'same' }, { zone: 'same' }], 1, 0],
    [[{ zone: 'any' }, { region: 'same' }], 1, 0],
    [[{ region: 'any' }, { service: 'inventory-eu' }, { metadata: { a: '1' } }], 2, 0],
    [[{ metadata: { a: '1' } }, { metadata: { a: '1', b: '2' } }], 1, 0],
    [[{ zone: 'same' }, { service: 'inventory-eu' }, { service: 'inventory-eu', subset: 'x' }], 2, 1],
  ])('is refused: %j', (failover, at, before) => {
    const message = (path: string) => `${path}[${at}]: takes no endpoint: ${path}[${before}] takes them all`
    expect(mistakes({ failover })).toEqual([message('failover')])
    expect(mistakes(route({ failover }))).toEqual([message('routes[0].failover')])
    expect(checkReceivedDocument({ service: 'inventory', failover })).toEqual([])
  })

  it.each<[object[]]>([
    [[{ zone: 'same' }, { region: 'same' }, { zone: 'any' }]],
    [[{ zone: 'any' }, { service: 'inventory-eu' }, { subset: 'blue' }]],
    [[{ metadata: { a: '1', b: '2' } }, { metadata: { a: '1' } }, { metadata: { b: '2' } }]],
    [[{ service: 'inventory-eu', subset: 'x' }, { service: 'inventory-eu' }]],
  ])('is not one that may take some: %j', (failover) => {
    expect(mistakes({ subsets, failover })).toEqual([])
  })
})

describe('the header of a session', () => {
  it.each(['Set-Cookie', 'cookie', 'authorization', 'content-type', 'etag', 'location', 'traceparent'])(
    'has no other meaning: %s',
    (header) => {
      const [mistake, ...more] = mistakes(route({ session: { header } }))
      expect(mistake).toContain(`routes[0].session.header: "${header.toLowerCase()}" has a meaning without sessions`)
      expect(more).toEqual([])
    },
  )

  it('may be any other', () => {
    expect(mistakes(route({ session: { header: 'x-session' } }))).toEqual([])
  })
})

it.each(['shop/items', 'shop/items.v1/0', 'unmatched-http', 'unmatched-grpc'])(
  'a route of a document has no name of a manifest’s: %s',
  (name) => {
    const document = { service: 'inventory', routes: [{ name, timeout: '1s' }] }
    expect(checkPolicyDocument(document).map(describeIssue)).toEqual([
      `routes[0].name: "${name}" is a name that only routes of Gateway manifests have; expected another, without '/'`,
    ])
    expect(checkMergedDocument(document)).toEqual([])
    expect(checkReceivedDocument(document)).toEqual([])
  },
)

it('a number or true where text is expected is written as text', () => {
  for (const value of [1, true]) {
    const [mistake] = mistakes(match({ headers: { 'x-beta': value } }))
    expect(mistake).toMatch(/^routes\[0\]\.match\[0\]\.headers\.x-beta: expected the exact value/)
    expect(mistake).toContain(`got ${value}; write it as text: '${value}'`)
  }
  expect(mistakes({ subsets: { blue: { version: 1 } } })).toEqual([
    "subsets.blue.version: expected the version of an instance, got 1; write it as text: '1'",
  ])
  expect(mistakes(match({ path: 1 }))[0]).not.toContain('write it')
})

describe('the parts of a document', () => {
  it.each<[object, string]>([
    [
      { routes: [{ name: 'a', match: [{ path: '/a' }] }, { name: 'a' }] },
      "routes[1].name: 'a' is the name of routes[0], too; names are unique",
    ],
    [route({ to: 'gren' }), "routes[0].to: this document defines no subset 'gren'; did you mean 'green'?"],
    [
      route({ to: { subset: 'canary' } }),
      "routes[0].to: this document defines no subset 'canary'; valid are blue, green",
    ],
    [
      { routes: [{ name: 'a', to: { service: 'inventory', subset: 'x' } }] },
      "routes[0].to: this document defines no subset 'x'; it defines none",
    ],
    [
      route({ split: [split[0], { to: 'red', weight: 1 }] }),
      "routes[0].split[1].to: this document defines no subset 'red'; valid are blue, green",
    ],
    [
      route({ mirror: { to: 'red' } }),
      "routes[0].mirror: this document defines no subset 'red'; valid are blue, green",
    ],
    [
      route({ mirror: [{ to: 'blue' }, { to: 'red' }] }),
      "routes[0].mirror[1]: this document defines no subset 'red'; valid are blue, green",
    ],
    [
      { subsets, failover: [{ subset: 'red' }] },
      "failover[0]: this document defines no subset 'red'; valid are blue, green",
    ],
    [
      { failover: [{ service: 'inventory' }] },
      "failover[0]: names 'inventory' itself; write zone: any for all its endpoints",
    ],
    [
      { service: 'mesh', failover: [{ service: 'eu' }] },
      'failover[0].service: is valid in the document of a service only: this level would be one of every service',
    ],
    [
      route({ split: split.map((share) => ({ ...share, weight: 0 })) }),
      'routes[0].split: has only weights of 0; expected at least one above 0',
    ],
    [route({ split: [...split, split[0]] }), 'routes[0].split[2]: has the target of split[0]; add its weight there'],
    [route({ to: 'blue', split }), "routes[0].split: contradicts 'to'; leave one out"],
    [
      route({ sticky: { header: 'x-user' } }),
      "routes[0].sticky: decides between the targets of 'split', which this route does not have",
    ],
    [
      route({ to: 'blue', redirect: { host: 'shop.example' } }),
      "routes[0].redirect: is an answer without a call, so 'to' has no effect; leave one out",
    ],
    [
      route({ mirror: { to: 'blue' }, respond: { status: 404 } }),
      "routes[0].respond: is an answer without a call, so 'mirror' has no effect; leave one out",
    ],
    [
      route({ redirect: { host: 'shop.example' }, respond: { status: 404 } }),
      "routes[0].respond: contradicts 'redirect'; leave one out",
    ],
    [route({ respond: { status: 204, body: 'x' } }), 'routes[0].respond.body: has no place in an answer of status 204'],
    [
      route({ to: 'green', mirror: { to: 'green' } }),
      'routes[0].mirror: copies requests to where the route sends them; expected another target',
    ],
    [
      route({ mirror: [{ to: 'green' }, { to: { service: 'inventory' } }] }),
      'routes[0].mirror[1]: copies requests to where the route sends them; expected another target',
    ],
    [
      match({ grpc: 'shop.Inventory/Get', path: '/a', query: { q: '1' } }),
      'routes[0].match[0]: names grpc and path, query, which no request has together; write two matches',
    ],
    [match({ path: '/{id}/x/{id}' }), 'routes[0].match[0].path: names {id} twice; names of segments are unique'],
    [match({ headers: { 'X-A': '1', 'x-a': '2' } }), "routes[0].match[0].headers.x-a: is the same name as 'X-A'"],
    [
      route({ match: [{ path: '/items/{id}' }], rewrite: { path: { prefix: '/v2' } } }),
      "routes[0].rewrite.path: replaces a prefix, but match[0] has none; expected path: { prefix } or a path that ends with '/*'",
    ],
    [
      route({ redirect: { path: { prefix: '/v2' } } }),
      "routes[0].redirect.path: replaces a prefix, but a route without match has none; expected path: { prefix } or a path that ends with '/*'",
    ],
    [
      route({ match: [{ path: '/items/{id}' }, { path: '/i/{sku}' }], rewrite: { path: '/v2/{id}' } }),
      'routes[0].rewrite.path: names {id}, which match[1] does not bind',
    ],
    [
      route({ match: [{ grpc: 'shop.Inventory/*' }], rewrite: { path: '/v2' } }),
      'routes[0].rewrite.path: is the path of an HTTP request, but match[0] is for gRPC',
    ],
    [{ unmatched: 'refuse' }, 'unmatched: refuses every call: there are no routes'],
    [
      route({ timeout: '300ms', retry: { perTryTimeout: '1s' } }),
      'routes[0].retry.perTryTimeout: expected at most timeout (300ms), got 1s',
    ],
    [
      route({ balancer: { name: 'peak-ewma', key: { path: true } } }),
      "routes[0].balancer.key: is not used by 'peak-ewma', only by 'ring-hash' and 'maglev'",
    ],
    [
      route({ limits: { rate: 5 } }),
      "routes[0].limits: unknown key of a route: 'limits' is the server's, which knows no routes",
    ],
    [route({ allow: [] }), "routes[0].allow: unknown key of a route: 'allow' is the server's, which knows no routes"],
    [
      route({ healthCheck: {} }),
      "routes[0].healthCheck: unknown key of a route: 'healthCheck' is the service's, whose endpoints all routes share",
    ],
    [route({ too: 'blue' }), "routes[0].too: unknown key; did you mean 'to'?"],
    [
      match({ path: { regex: '/(' } }),
      "routes[0].match[0].path.regex: expected a regular expression in RE2's syntax: missing closing ): `/(`",
    ],
    [
      match({ path: { regex: '(?=a)' } }),
      "routes[0].match[0].path.regex: expected a regular expression in RE2's syntax: invalid or unsupported Perl syntax: `(?=`",
    ],
    [
      match({ path: { regex: '([a-z]{200}){20}' } }),
      "routes[0].match[0].path.regex: expected a regular expression in RE2's syntax: invalid repeat count: `{20}`",
    ],
    [
      match(...Array.from({ length: 20 }, (_, i) => ({ path: { regex: `(a{30}){2${i % 10}}` } }))),
      'routes[0].match: brings the regular expressions to more than 10,000 instructions in all',
    ],
  ])('%j is refused: %s', (change, expected) => {
    expect(mistakes(change)).toEqual([expected])
  })

  it('may be a split whose target is mirrored, too, or has other headers', () => {
    expect(mistakes(route({ split, mirror: { to: 'green', share: '5%' } }))).toEqual([])
    const other = { to: 'blue', weight: 1, headers: { request: { set: { 'x-a': '1' } } } }
    expect(mistakes(route({ split: [...split, other] }))).toEqual([])
    expect(mistakes(route({ split: [...split, other], sticky: { header: 'x-a' } }))).toHaveLength(1)
  })

  it('may rewrite what every match binds', () => {
    const rewrite = { path: '/v2/{id}' }
    expect(mistakes(route({ match: [{ path: '/a/{id}' }, { path: '/{x}/{id}/*' }], rewrite }))).toEqual([])
    const prefix = { path: { prefix: '/' } }
    expect(mistakes(route({ match: [{ path: { prefix: '/a' } }, { path: '/b/*' }], rewrite: prefix }))).toEqual([])
  })
})

describe('a route', () => {
  const routes = (...matches: (readonly object[] | undefined)[]) => ({
    routes: matches.map((one, i) => ({ name: `r${i}`, ...(one !== undefined && { match: one }) })),
  })

  it.each<[string, readonly (readonly object[] | undefined)[], string]>([
    [
      'after one for every request',
      [undefined, [{ path: '/a' }]],
      "routes[1]: is never reached: 'r0' (routes[0]) before it matches every request that it matches",
    ],
    [
      'of the same path and fewer methods',
      [[{ path: '/a' }], [{ path: '/a', method: 'GET' }]],
      "routes[1]: is never reached: 'r0' (routes[0]) before it matches every request that it matches",
    ],
    [
      'whose alternatives are covered by several',
      [[{ path: { prefix: '/a' } }], [{ grpc: 'a.B/*' }], [{ path: '/a/{id}' }, { grpc: 'a.B/C' }]],
      "routes[2]: is never reached: 'r0' (routes[0]) and 'r1' (routes[1]) before it match every request that it matches",
    ],
  ])('%s is never reached', (_, matches, expected) => {
    expect(mistakes(routes(...matches))).toEqual([expected])
  })

  it.each<[string, readonly (readonly object[] | undefined)[]]>([
    ['the last is for every request', [[{ path: '/a' }], undefined]],
    ['one alternative is not covered', [[{ path: '/a' }], [{ path: '/a', method: 'GET' }, { path: '/b' }]]],
    ['the earlier one is for gRPC', [[{ grpc: '*/*' }], undefined]],
    ['the earlier one is for HTTP', [[{ path: { prefix: '/' } }], undefined]],
    ['the earlier one asks for a header', [[{ path: '/a', headers: { 'x-a': '*' } }], [{ path: '/a' }]]],
    ['the earlier one is for one caller', [[{ from: 'web' }], [{ from: ['web', 'checkout'] }]]],
    ['a rest has at least one character', [[{ path: '/a/*' }], [{ path: '/a/' }]]],
  ])('is reached: %s', (_, matches) => {
    expect(mistakes(routes(...matches))).toEqual([])
  })
})

describe('several routes together', () => {
  const onA = (...methods: (MatchOptions['method'] | undefined)[]): string[] =>
    mistakes({
      routes: methods.map((method, i) => ({ name: `r${i}`, match: [{ path: '/a', ...(method && { method }) }] })),
    })

  it('leave nothing to a later one whose methods they have', () => {
    expect(onA('GET', 'POST', ['GET', 'POST'])).toEqual([
      "routes[2]: is never reached: 'r0' (routes[0]) and 'r1' (routes[1]) before it match every request that it matches",
    ])
  })

  it('leave to a later one the methods that they do not have', () => {
    expect(onA('GET', 'HEAD', ['GET', 'POST'])).toEqual([])
    expect(onA('GET', 'POST', undefined)).toEqual([])
  })
})

it('one match covers another only if it holds for every request for which that holds', () => {
  const paths = fc.constantFrom<MatchOptions['path'][]>(
    ...(['/a', '/a/', '/', '/a/b', '/{x}', '/{x}/{y}', '/a/{y}', '/a/*', '/*', '/{x}/*', '/a/b/*'] as const),
    { prefix: '/' },
    { prefix: '/a' },
    { prefix: '/a/b' },
    { exact: '/a/*' },
    { regex: '/a.*' },
    { regex: '/a/b' },
  )
  const values = fc.constantFrom(
    { 'x-a': '*' },
    { 'x-a': '1' },
    { 'x-a': { regex: '[0-9]+' } },
    { 'x-a': '1', 'x-b': '2' },
  )
  const from = fc.constantFrom<MatchOptions['from'][]>('web', ['web', 'checkout'])
  const http = fc.record(
    {
      path: paths,
      method: fc.constantFrom<MatchOptions['method'][]>('GET', ['GET', 'POST']),
      headers: values,
      query: values,
      from,
    },
    { requiredKeys: [] },
  )
  const grpc = fc.record(
    {
      grpc: fc.constantFrom<MatchOptions['grpc'][]>('a.B/C', 'a.B/*', '*/C', '*/*', { regex: 'a.*' }),
      headers: values,
      from,
    },
    { requiredKeys: [] },
  )
  const given = fc.oneof({ weight: 3, arbitrary: http }, grpc) as fc.Arbitrary<MatchOptions>
  const targets = ['/', '/a', '/a/', '/a/b', '/a/b/', '/a/b/c', '/b', '/b/c', '/a//b', '/a/*', '/../a', '/a/..']
  const asked: { head: RequestHead; protocol: string; caller: string }[] = []
  for (const value of [undefined, '1', '2', 'x']) {
    const header = (name: string) => (name === 'x-a' ? value : '2')
    for (const caller of ['web', 'checkout']) {
      for (const path of targets) {
        for (const query of ['', '?x-a=1&x-b=2', '?x-a=x']) {
          for (const method of ['GET', 'POST'])
            asked.push({ head: { method, path: path + query, header }, protocol: 'http', caller })
        }
      }
      for (const method of ['/a.B/C', '/a.B/D', '/x.Y/C']) {
        asked.push({ head: { method, path: method, header }, protocol: 'grpc', caller })
      }
    }
  }
  const settings = (one: MatchOptions): MatchSettings => {
    const document: PolicyDocument = { service: 'inventory', routes: [{ name: 'a', match: [one] }] }
    return resolvePolicy(null, document).routing!.routes[0]!.matches[0]!
  }
  let covered = 0
  fc.assert(
    fc.property(given, given, (one, other) => {
      const [wide, narrow] = [settings(one), settings(other)]
      if (!covers(wide, narrow)) return
      covered += 1
      for (const request of asked) {
        if (failedCondition(narrow, request) === undefined) expect(failedCondition(wide, request)).toBeUndefined()
      }
    }),
    { numRuns: 5_000 },
  )
  expect(covered).toBeGreaterThan(200)
  let together = 0
  const similar = fc.record(
    {
      path: fc.constantFrom<MatchOptions['path'][]>('/a', { prefix: '/a' }, { prefix: '/' }),
      method: fc.constantFrom<MatchOptions['method'][]>('GET', 'POST', ['GET', 'POST']),
      headers: fc.constantFrom({ 'x-a': '*' }, { 'x-a': '1' }),
      from,
    },
    { requiredKeys: [] },
  ) as fc.Arbitrary<MatchOptions>
  const narrow = { name: 'last', match: undefined }
  fc.assert(
    fc.property(fc.array(similar, { minLength: 2, maxLength: 5 }), fc.option(similar), (before, last) => {
      const matches = before.map(settings)
      const tested = last === null ? undefined : settings(last)
      const routes = matches.map((one, i) => ({ name: `r${i}`, match: [one] }))
      const issues = unreachableRoutes([...routes, { ...narrow, match: tested && [tested] }])
      if (!issues.some(({ path }) => path[1] === routes.length)) return
      if (tested !== undefined && !matches.some((one) => covers(one, tested))) together += 1
      for (const request of asked) {
        if (tested !== undefined && failedCondition(tested, request) !== undefined) continue
        expect(matches.some((one) => failedCondition(one, request) === undefined)).toBe(true)
      }
    }),
    { numRuns: 5_000 },
  )
  expect(together).toBeGreaterThan(5)
})
