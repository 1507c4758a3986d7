/** What the specification calls invalid, and what the mesh does not do: refused with its path. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkManifest } from '../../src/gateway-api/check-manifest.ts'
import { readManifest } from '../../src/gateway-api/read-manifest.ts'
import { grpcRoute, httpRoute, issuesOf, to } from './manifests.ts'

const forward = { backendRefs: [to('echo-v1')] }

function pathMatch(value: string, type = 'PathPrefix'): object {
  return httpRoute('one', [{ matches: [{ path: { type, value } }], ...forward }])
}

function filter(...filters: object[]): object {
  return httpRoute('one', [{ matches: [{ path: { value: '/a' } }], filters, ...forward }])
}

test('a valid manifest has no mistakes, and names its services', () => {
  const { route, issues } = readManifest(httpRoute('one', [forward], { namespace: 'shop' }))
  expect(issues).toEqual([])
  expect(route?.key).toEqual({ kind: 'HTTPRoute', namespace: 'shop', name: 'one' })
  expect(route?.attachments).toEqual([{ service: 'echo', consumer: undefined }])
})

test('a manifest that a cluster printed is taken with its status and its metadata', () => {
  const printed = {
    ...httpRoute('one', [forward]),
    metadata: { name: 'one', uid: 'f3', resourceVersion: '7', generation: 2, labels: { a: 'b' }, managedFields: [{}] },
    status: { parents: [{ conditions: [{ type: 'Accepted', status: 'True' }] }] },
  }
  expect(issuesOf(printed)).toEqual([])
})

test('a manifest may be deeper than a document of ours', () => {
  const filters = [{ type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name: 'x', value: '1' }] } }]
  expect(issuesOf(httpRoute('one', [{ backendRefs: [to('echo-v1', { filters })] }]))).toEqual([])
})

test('nesting is bounded', () => {
  let deep: unknown = 'end'
  for (let i = 0; i < 10_000; i++) deep = { deep }
  const [issue] = issuesOf({ ...httpRoute('one', [forward]), metadata: { name: 'one', annotations: { deep } } })
  expect(issue).toMatch(/is nested deeper than 20 levels$/)
})

test.each(['x-token-bin', 'user-agent', 'content-length'])('a GRPCRoute cannot match the header %s', (name) => {
  const matches = [{ headers: [{ name, value: '1' }] }]
  const [issue, ...more] = checkManifest(grpcRoute('one', [{ matches, ...forward }]))
  expect(issue?.message).toContain(`in a document's words, match[0].headers.${name}: "${name}" `)
  expect(issue?.path).toEqual(['spec', 'rules', 0])
  expect(more).toEqual([])
})

describe('parents', () => {
  test('a parent without a kind is a Gateway, and not for the mesh', () => {
    const { route } = readManifest(httpRoute('one', [forward], { spec: { parentRefs: [{ name: 'echo' }] } }))
    expect(route?.attachments).toEqual([])
  })

  test('a Service among Gateways is taken', () => {
    const parentRefs = [{ name: 'edge' }, { group: '', kind: 'Service', name: 'echo' }]
    const { route } = readManifest(httpRoute('one', [forward], { spec: { parentRefs, hostnames: ['a.example'] } }))
    expect(route?.attachments).toEqual([{ service: 'echo', consumer: undefined }])
  })

  test('a Service needs its group', () => {
    const parentRefs = [{ kind: 'Service', name: 'echo' }]
    expect(issuesOf(httpRoute('one', [forward], { spec: { parentRefs } }))).toEqual([
      "spec.parentRefs[0].group: is missing; a Service is of the group '', and without a group this is an object of a Gateway",
    ])
  })

  test("the group 'core' is the empty one", () => {
    expect(issuesOf(httpRoute('one', [forward], { parent: { group: 'core' } }))).toEqual([])
  })

  test('a route of another namespace than its Service is one of a consumer', () => {
    const { route } = readManifest(httpRoute('one', [forward], { namespace: 'shop', parent: { namespace: 'echo' } }))
    expect(route?.attachments).toEqual([{ service: 'echo', consumer: 'shop' }])
  })

  test('hostnames mean nothing to a mesh (GEP-1294)', () => {
    expect(issuesOf(httpRoute('one', [forward], { spec: { hostnames: ['a.example'] } }))).toEqual([
      "spec.hostnames: means nothing where the parent is a Service (GEP-1294); match the header 'host' instead",
    ])
  })
})

describe('kinds and versions', () => {
  test.each([
    ['an unknown kind', { kind: 'TCPRoute' }, /^kind: expected one of 'HTTPRoute', 'GRPCRoute'/],
    ['another version', { apiVersion: 'gateway.networking.k8s.io/v1alpha2' }, /^apiVersion: expected one of/],
    ['no name', { metadata: {} }, /^metadata\.name: is missing/],
    ['a name in capitals', { metadata: { name: 'One' } }, /^metadata\.name: expected the name of an object/],
    ['no spec', { spec: undefined }, /^spec: is missing/],
    ['an unknown key', { specs: {} }, /^specs: unknown key; did you mean 'spec'\?/],
  ])('%s is refused', (_what, change, message) => {
    expect(issuesOf({ ...httpRoute('one', [forward]), ...change })[0]).toMatch(message)
  })
})

describe('path values', () => {
  test.each([
    'a',
    '/a//b',
    '/a/./b',
    '/a/../b',
    '/a%2Fb',
    '/a%2fb',
    '/a#b',
    '/a?b',
    '/a/..',
    '/a/.',
    '/a b',
    '/a%zz',
    '',
  ])('%s is invalid', (value) => {
    expect(issuesOf(pathMatch(value))).toHaveLength(1)
    expect(issuesOf(pathMatch(value, 'Exact'))[0]).toMatch(/^spec\.rules\[0\]\.matches\[0\]\.path\.value: /)
  })

  test.each(['/', '/a/', '/a.b/..c/%41', "/a*{b}'s".replace(/[{}']/g, '')])('%s is valid', (value) => {
    expect(issuesOf(pathMatch(value))).toEqual([])
  })

  test('a regular expression is no path', () => {
    expect(issuesOf(pathMatch('^/a#?$', 'RegularExpression'))).toEqual([])
  })

  test('an unknown type of match is refused', () => {
    expect(issuesOf(pathMatch('/a', 'Suffix'))[0]).toMatch(/path\.type: expected one of 'Exact', 'PathPrefix'/)
  })
})

describe('rules', () => {
  test.each([
    ['CONNECT', { matches: [{ method: 'CONNECT' }] }, /matches\[0\]\.method: CONNECT opens a tunnel/],
    ['a method in lower case', { matches: [{ method: 'get' }] }, /matches\[0\]\.method: expected one of/],
    ['an unknown key', { matches: [{ paths: {} }] }, /matches\[0\]\.paths: unknown key; did you mean 'path'/],
    ['a header without value', { matches: [{ headers: [{ name: 'a', value: '' }] }] }, /headers\[0\]\.value: expected/],
    ['a pseudo header', { matches: [{ headers: [{ name: ':method', value: 'a' }] }] }, /headers\[0\]\.name: expected/],
    [
      '17 headers',
      { matches: [{ headers: Array(17).fill({ name: 'a', value: 'b' }) }] },
      /headers: expected a list of/,
    ],
    ['a fraction of a second', { timeouts: { request: '1.5s' } }, /timeouts\.request: expected a duration of whole/],
    ['a number as duration', { timeouts: { request: 10 } }, /timeouts\.request: expected a duration of whole/],
    ['a long wait', { retry: { backoff: '6m' } }, /retry\.backoff: expected .* at most 5m/],
    ['more than a day', { timeouts: { request: '25h' } }, /timeouts\.request: expected .* at most 24h/],
    [
      'backendRequest above request',
      { timeouts: { request: '1s', backendRequest: '2s' } },
      /timeouts\.backendRequest: is longer than 'request'/,
    ],
    ['no retry', { retry: { attempts: 0 } }, /retry\.attempts: expected a whole number from 1 to 9/],
    ['a code of success', { retry: { codes: [200] } }, /retry\.codes\[0\]: expected a whole number from 400 to 599/],
    [
      'a backend of another kind',
      { backendRefs: [to('a', { kind: 'Bucket' })] },
      /backendRefs\[0\]\.kind: is 'Bucket'/,
    ],
    ['the name of the defaults', { backendRefs: [to('mesh')] }, /backendRefs\[0\]\.name: 'mesh' is reserved/],
    ['a backend without port', { backendRefs: [{ name: 'a' }] }, /backendRefs\[0\]\.port: is missing/],
    ['a negative weight', { backendRefs: [to('a', { weight: -1 })] }, /backendRefs\[0\]\.weight: expected a whole/],
    ['a weight above a million', { backendRefs: [to('a', { weight: 1_000_001 })] }, /weight: expected a whole/],
  ])('%s is refused', (_what, rule, message) => {
    const issues = issuesOf(httpRoute('one', [{ ...forward, ...rule }]))
    expect(issues).toHaveLength(1)
    expect(issues[0]).toMatch(message)
    expect(issues[0]).toMatch(/^spec\.rules\[0\]\./)
  })

  test("'0s' as request bounds no backendRequest", () => {
    expect(issuesOf(httpRoute('one', [{ ...forward, timeouts: { request: '0s', backendRequest: '2s' } }]))).toEqual([])
  })

  test('two rules of one name are refused', () => {
    expect(
      issuesOf(
        httpRoute('one', [
          { name: 'a', ...forward },
          { name: 'a', ...forward },
        ]),
      ),
    ).toEqual(["spec.rules[1].name: 'a' is the name of a rule before"])
  })

  test('more than 128 matches of all rules together are refused', () => {
    const rule = { matches: Array(43).fill({ path: { value: '/a' } }), ...forward }
    expect(issuesOf(httpRoute('one', [rule, rule, rule]))).toEqual([
      'spec.rules: have 129 matches; at most 128 are allowed',
    ])
  })

  test('a route has at most 16 rules', () => {
    expect(issuesOf(httpRoute('one', Array(17).fill(forward)))[0]).toMatch(/^spec\.rules: expected a list of 1 to 16/)
  })

  test.each([
    [
      'a header of type Cookie',
      { header: { name: 'x' } },
      /sessionPersistence\.header: does not belong to type 'Cookie'/,
    ],
    ['a cookie of type Header', { type: 'Header', cookie: {}, header: { name: 'x' } }, /\.cookie: does not belong/],
    ['no header of type Header', { type: 'Header' }, /sessionPersistence: has type 'Header' and no 'header'/],
    ['an endless permanent cookie', { cookie: { lifetimeType: 'Permanent' } }, /\.absoluteTimeout: is missing/],
  ])('session persistence with %s is refused', (_what, sessionPersistence, message) => {
    const issues = issuesOf(httpRoute('one', [{ ...forward, sessionPersistence }]))
    expect(issues).toHaveLength(1)
    expect(issues[0]).toMatch(message)
  })
})

describe('filters', () => {
  const header = { set: [{ name: 'x', value: '1' }] }
  test.each([
    ['CORS', [{ type: 'CORS', cors: { allowOrigins: ['*'] } }], /filters\[0\]\.type: CORS is not supported/],
    ['ExternalAuth', [{ type: 'ExternalAuth', externalAuth: {} }], /filters\[0\]\.type: external authorization is not/],
    ['ExtensionRef', [{ type: 'ExtensionRef', extensionRef: {} }], /filters\[0\]\.type: filters of other vendors/],
    ['an unknown type', [{ type: 'Rewrite' }], /filters\[0\]\.type: expected one of/],
    ['no settings', [{ type: 'URLRewrite' }], /filters\[0\]: has type 'URLRewrite' and no 'urlRewrite'/],
    [
      'settings of another type',
      [{ type: 'URLRewrite', urlRewrite: {}, requestMirror: { backendRef: to('a') } }],
      /filters\[0\]\.requestMirror: does not belong to a filter of type 'URLRewrite'/,
    ],
    [
      'one type twice',
      Array(2).fill({ type: 'RequestHeaderModifier', requestHeaderModifier: header }),
      /filters\[1\]\.type: 'RequestHeaderModifier' is given twice/,
    ],
    [
      'several actions for one header',
      [{ type: 'RequestHeaderModifier', requestHeaderModifier: { ...header, remove: ['X'] } }],
      /requestHeaderModifier\.remove\[0\]: 'X' stands in 'set', too/,
    ],
    [
      'percent and fraction',
      [{ type: 'RequestMirror', requestMirror: { backendRef: to('a'), percent: 5, fraction: { numerator: 1 } } }],
      /requestMirror\.fraction: stands beside 'percent'/,
    ],
    [
      'a fraction above 1',
      [{ type: 'RequestMirror', requestMirror: { backendRef: to('a'), fraction: { numerator: 3, denominator: 2 } } }],
      /fraction\.numerator: is more than the denominator/,
    ],
    [
      'a replaced prefix without value',
      [{ type: 'URLRewrite', urlRewrite: { path: { type: 'ReplacePrefixMatch' } } }],
      /urlRewrite\.path\.replacePrefixMatch: is missing/,
    ],
    [
      'a host with a port',
      [{ type: 'URLRewrite', urlRewrite: { hostname: 'a.example:80' } }],
      /urlRewrite\.hostname: expected the name of a host/,
    ],
  ])('%s is refused', (_what, filters, message) => {
    const issues = issuesOf(filter(...(filters as object[])))
    expect(issues).toHaveLength(1)
    expect(issues[0]).toMatch(message)
  })

  test('a redirect beside backends is refused', () => {
    const issues = issuesOf(filter({ type: 'RequestRedirect', requestRedirect: { hostname: 'a.example' } }))
    expect(issues[0]).toMatch(/^spec\.rules\[0\]\.backendRefs: stand beside RequestRedirect/)
  })

  test('a redirect beside a rewrite is refused', () => {
    const filters = [
      { type: 'RequestRedirect', requestRedirect: { hostname: 'a.example' } },
      { type: 'URLRewrite', urlRewrite: { hostname: 'a.example' } },
    ]
    expect(issuesOf(httpRoute('one', [{ filters }]))).toEqual([
      'spec.rules[0].filters: has both RequestRedirect and URLRewrite; a redirected request is not forwarded',
    ])
  })

  test.each([
    ['two matches', [{ path: { value: '/a' } }, { path: { value: '/b' } }]],
    ['an exact match', [{ path: { type: 'Exact', value: '/a' } }]],
  ])('a prefix cannot be replaced with %s', (_what, matches) => {
    const path = { type: 'ReplacePrefixMatch', replacePrefixMatch: '/b' }
    const filters = [{ type: 'URLRewrite', urlRewrite: { path } }]
    expect(issuesOf(httpRoute('one', [{ matches, filters, ...forward }]))).toEqual([
      "spec.rules[0].filters[0].urlRewrite.path: replaces a prefix, so the rule needs exactly one match, of type 'PathPrefix'",
    ])
  })

  test('a GRPCRoute has no redirects', () => {
    const filters = [{ type: 'RequestRedirect', requestRedirect: {} }]
    expect(issuesOf(grpcRoute('one', [{ filters }]))[0]).toMatch(/type: a GRPCRoute has no filter 'RequestRedirect'/)
  })

  test('a filter of a backend that is more than headers is refused', () => {
    const filters = [{ type: 'URLRewrite', urlRewrite: { hostname: 'a.example' } }]
    expect(issuesOf(httpRoute('one', [{ backendRefs: [to('a', { filters })] }]))).toEqual([
      "spec.rules[0].backendRefs[0].filters[0].type: 'URLRewrite' is supported for a whole rule only; write a separate rule for this backend",
    ])
  })
})

describe('gRPC methods', () => {
  test.each([
    [{}, /method: has neither 'service' nor 'method'/],
    [{ service: 'a/b' }, /method\.service: expected the name of a gRPC service/],
    [{ service: 'a.B', method: 'x-y' }, /method\.method: expected the name of a gRPC method/],
    [{ type: 'Prefix', service: 'a' }, /method\.type: expected one of 'Exact', 'RegularExpression'/],
  ])('%j is refused', (method, message) => {
    expect(issuesOf(grpcRoute('one', [{ matches: [{ method }], ...forward }]))[0]).toMatch(message)
  })
})

test('whatever a file holds, it is judged and never throws', () => {
  const junk = fc.anything({ withBigInt: false, withDate: false, withMap: false, withSet: false })
  const valid = httpRoute('one', [{ matches: [{ path: { value: '/a' } }], ...forward }])
  const paths = [
    ['metadata'],
    ['spec'],
    ['spec', 'parentRefs'],
    ['spec', 'rules'],
    ['spec', 'rules', 0],
    ['spec', 'rules', 0, 'matches', 0],
    ['spec', 'rules', 0, 'backendRefs', 0],
    ['spec', 'rules', 0, 'filters'],
    ['spec', 'rules', 0, 'timeouts'],
    ['spec', 'rules', 0, 'sessionPersistence'],
  ]
  fc.assert(
    fc.property(fc.constantFrom(...paths), junk, (path, value) => {
      const changed = structuredClone(valid) as Record<string | number, unknown>
      let holder = changed
      for (const step of path.slice(0, -1)) holder = holder[step] as typeof holder
      holder[path.at(-1)!] = value
      expect(Array.isArray(checkManifest(changed))).toBe(true)
    }),
    { numRuns: 2_000 },
  )
})
