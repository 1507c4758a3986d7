/**
 * Bad routes: each mistake is one message with file, line and what is valid, exit code 2, and
 * nothing has changed in a real registry.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { type Run, run } from './run-command.ts'

/** In force before; line 1 of each bad document is `service: inventory`. */
const IN_FORCE = `service: inventory
subsets: { blue: { version: v1 } }
---
service: eu
subsets: { blue: { version: v1 } }
routes:
  - { name: back, match: [{ path: /back }], to: { service: us } }
`

let registry: Registry
beforeAll(async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false })
  expect((await command(['apply', '-f', '-'], IN_FORCE)).code).toBe(0)
})
afterAll(() => registry.close())

function command(args: readonly string[], stdin?: string): Promise<Run> {
  const env = { INMESH_REGISTRY: registry.url, INMESH_ADMIN_TOKEN: registry.adminToken, HOME: '/nonexistent' }
  return run(args, { env, ...(stdin !== undefined && { stdin }) })
}

const SUBSETS = 'subsets: { blue: { version: v1 }, green: { version: v2 } }\n'
const route = (keys: string) => `routes:\n  - name: a\n    ${keys}\n`
const match = (condition: string) => route(`match: [{ ${condition} }]`)

/** What is wrong; the document after its first line; the line; the path and the message. */
const BAD: readonly (readonly [what: string, document: string, line: number, message: string])[] = [
  // Of the lists and names.
  [
    'routes that are no list',
    'routes: { name: a }\n',
    2,
    'routes: expected a list of 0 to 1000 entries, got an object',
  ],
  ['a route without a name', 'routes:\n  - to: { service: eu }\n', 3, 'routes[0].name: is missing; expected a name'],
  [
    'a name in upper case',
    'routes:\n  - name: Items\n',
    3,
    "routes[0].name: expected a name of 1 to 63 lower-case letters, digits and '-'",
  ],
  ['a name of 64 letters', `routes:\n  - name: ${'a'.repeat(64)}\n`, 3, 'routes[0].name: expected a name of 1 to 63'],
  [
    'a name twice',
    'routes:\n  - { name: a, match: [{ path: /a }] }\n  - { name: a, match: [{ path: /b }] }\n',
    4,
    "routes[1].name: 'a'",
  ],
  ['an unknown key of a route', route('too: blue'), 4, "routes[0].too: unknown key; did you mean 'to'?"],
  ['a policy of servers in a route', route('limits: { rate: 5/s }'), 4, 'routes[0].limits: unknown key'],
  [
    'routes of the whole mesh',
    '---\nservice: mesh\nroutes:\n  - name: a\n',
    4,
    'routes: is valid in the document of a service only',
  ],
  // Of subsets.
  [
    'a subset without a condition',
    'subsets: { blue: {} }\n',
    2,
    'subsets.blue: is empty; expected at least one of version, metadata',
  ],
  [
    'a subset with an unknown condition',
    'subsets: { blue: { versoin: v1 } }\n',
    2,
    "subsets.blue.versoin: unknown key; did you mean 'version'?",
  ],
  [
    'a subset with a bad name',
    'subsets: { Blue: { version: v1 } }\n',
    2,
    'subsets.Blue: expected the name of a subset',
  ],
  [
    'a version that is a number',
    'subsets: { blue: { version: 1 } }\n',
    2,
    'subsets.blue.version: expected the version of an instance, got 1',
  ],
  ['a subset that is not defined', SUBSETS + route('to: gren'), 5, 'routes[0].to: '],
  [
    'a subset of a split that is not defined',
    SUBSETS + route('split: [{ to: blue, weight: 1 }, { to: red, weight: 1 }]'),
    5,
    'routes[0].split[1].to',
  ],
  ['a subset of a mirror that is not defined', SUBSETS + route('mirror: { to: red }'), 5, 'routes[0].mirror'],
  [
    "another service's subset that is not defined",
    route('to: { service: eu, subset: bleu }'),
    4,
    "routes[0].to: there is no subset 'bleu' of 'eu'; did you mean 'blue'?",
  ],
  [
    'the document of the mesh as a target',
    route('to: { service: mesh }'),
    4,
    "routes[0].to: 'mesh' has the defaults of all services",
  ],
  [
    'a subset of a service without a document',
    route('to: { service: nowhere, subset: blue }'),
    4,
    "routes[0].to: there is no subset 'blue' of 'nowhere', which has no document",
  ],
  // Of matches.
  ['an unknown condition', match('pth: /a'), 4, "routes[0].match[0].pth: unknown key; did you mean 'path'?"],
  [
    'a match that is no list',
    route('match: { path: /a }'),
    4,
    'routes[0].match: expected a list of 1 to 64 entries, got an object',
  ],
  ['no alternative', route('match: []'), 4, 'routes[0].match: expected a list of 1 to 64 entries'],
  [
    'a path without a slash',
    match('path: items'),
    4,
    "routes[0].match[0].path: expected a path such as '/items/42', '/items/{id}' (any segment) or '/items/*' (any rest)",
  ],
  ['a path with a query', match("path: '/items?x=1'"), 4, 'routes[0].match[0].path: expected a path'],
  ['a wildcard inside a segment', match("path: '/items/a*b'"), 4, 'routes[0].match[0].path: expected a path'],
  [
    'an escaped slash',
    match("path: '/items/a%2Fb'"),
    4,
    "routes[0].match[0].path: expected a path without escaped '/'",
  ],
  [
    'a prefix and a regular expression',
    match('path: { prefix: /a, regex: /b }'),
    4,
    'routes[0].match[0].path: expected exactly one of exact, prefix, regex',
  ],
  ['a regular expression that is none', match("path: { regex: '/(' }"), 4, 'routes[0].match[0].path.regex: '],
  [
    'a regular expression that looks back',
    match("headers: { x-a: { regex: '(a)\\1' } }"),
    4,
    'routes[0].match[0].headers.x-a.regex: ',
  ],
  ['a method in lower case', match('method: get'), 4, "routes[0].match[0].method: expected one of 'GET'"],
  [
    'a header that is a number',
    match('headers: { x-beta: 1 }'),
    4,
    'routes[0].match[0].headers.x-beta: expected the exact value',
  ],
  ['a header name with a space', match("headers: { 'x beta': '1' }"), 4, 'routes[0].match[0].headers.x beta: expected'],
  [
    'a gRPC method without a service',
    match('grpc: Quote'),
    4,
    "routes[0].match[0].grpc: expected a gRPC method such as 'shop.Inventory/Quote'",
  ],
  ['a gRPC method with an HTTP path', match("grpc: 'shop.Inventory/Quote', path: /a"), 4, 'routes[0].match[0]'],
  [
    'a caller that is no service',
    match("from: 'Check out'"),
    4,
    'routes[0].match[0].from: expected the name of a calling service',
  ],
  [
    'a route that no request reaches',
    'routes:\n  - name: all\n  - { name: a, match: [{ path: /a }] }\n',
    4,
    'routes[1]',
  ],
  [
    'a route behind the same path',
    'routes:\n  - { name: a, match: [{ path: /a }] }\n  - { name: b, match: [{ path: /a, method: GET }] }\n',
    4,
    'routes[1]',
  ],
  // Of targets and splits.
  ['no target', route('to: {}'), 4, 'routes[0].to: is empty; expected at least one of subset, service'],
  [
    'a target and a split',
    SUBSETS + route('to: blue\n    split: [{ to: blue, weight: 1 }, { to: green, weight: 1 }]'),
    6,
    'routes[0].split',
  ],
  [
    'weights that are all 0',
    SUBSETS + route('split: [{ to: blue, weight: 0 }, { to: green, weight: 0 }]'),
    5,
    'routes[0].split',
  ],
  [
    'a negative weight',
    SUBSETS + route('split: [{ to: blue, weight: -1 }, { to: green, weight: 1 }]'),
    5,
    'routes[0].split[0].weight: expected a whole number from 0 to 1000000, got -1',
  ],
  [
    'a weight in percent',
    SUBSETS + route('split: [{ to: blue, weight: 90% }, { to: green, weight: 1 }]'),
    5,
    'routes[0].split[0].weight: expected a whole number',
  ],
  [
    'a target without a weight',
    SUBSETS + route('split: [{ to: blue }, { to: green, weight: 1 }]'),
    5,
    'routes[0].split[0].weight: is missing',
  ],
  [
    'a target twice',
    SUBSETS + route('split: [{ to: blue, weight: 1 }, { to: blue, weight: 1 }]'),
    5,
    'routes[0].split[1]',
  ],
  [
    'a sticky key of two kinds',
    SUBSETS +
      route('split: [{ to: blue, weight: 1 }, { to: green, weight: 1 }]\n    sticky: { header: x-user, cookie: user }'),
    6,
    'routes[0].sticky: expected exactly one of header, cookie, query, baggage',
  ],
  ['a sticky key without a split', SUBSETS + route('to: blue\n    sticky: { header: x-user }'), 6, 'routes[0].sticky'],
  [
    'a cycle',
    route('to: { service: eu }').replace('routes', '---\nservice: us\nroutes'),
    6,
    "routes[0].to: leads back to 'us': us (routes[0].to) -> eu (routes[0].to) -> us",
  ],
  // Of what a route does.
  [
    'a share above all',
    SUBSETS + route('mirror: { to: green, share: 101% }'),
    5,
    'routes[0].mirror.share: expected a share from 0% to 100%',
  ],
  ['six mirrors', SUBSETS + route(`mirror: [${'{ to: green }, '.repeat(6)}]`), 5, 'routes[0].mirror: expected'],
  [
    'a change of the host as a header',
    route('headers: { request: { set: { Host: shop.example } } }'),
    4,
    "cannot be changed as a header; use 'rewrite: { host }'",
  ],
  [
    'a header value with a line feed',
    route('headers: { request: { set: { x-a: "b\\nc" } } }'),
    4,
    'routes[0].headers.request.set.x-a: ',
  ],
  ['a header of a hop', route('headers: { request: { remove: [connection] } }'), 4, 'routes[0].headers.request.remove'],
  [
    'a prefix without one to replace',
    match("path: '/items/{id}'").trimEnd().concat('\n    rewrite: { path: { prefix: /v2 } }\n'),
    5,
    'routes[0].rewrite.path',
  ],
  [
    'a segment that the match does not bind',
    match("path: '/items/{id}'").trimEnd().concat("\n    rewrite: { path: '/v2/{sku}' }\n"),
    5,
    'routes[0].rewrite.path',
  ],
  [
    'a redirect that is no redirect',
    route('redirect: { status: 200 }'),
    4,
    'routes[0].redirect.status: expected one of 301, 302, 303, 307, 308, got 200',
  ],
  [
    'a redirect and a target',
    SUBSETS + route('to: blue\n    redirect: { host: shop.example }'),
    6,
    'routes[0].redirect',
  ],
  ['an answer with an impossible status', route('respond: { status: 99 }'), 4, 'routes[0].respond.status: expected'],
  ['a fault of nothing', route('faults: [{ share: 5% }]'), 4, 'routes[0].faults[0]'],
  ['a timeout of no unit', route('timeout: fast'), 4, 'routes[0].timeout: expected a duration'],
  [
    'an attempt that lasts longer than the call',
    route('timeout: 300ms\n    retry: { perTryTimeout: 1s }'),
    5,
    'routes[0].retry.perTryTimeout: expected at most timeout (300ms), got 1s',
  ],
  // Of failover and overrides.
  ['an empty level', 'failover: [{}]\n', 2, 'failover[0]: expected exactly one of zone, region, metadata, service'],
  ['a level of two kinds', 'failover: [{ zone: same, region: same }]\n', 2, 'failover[0]: expected exactly one of'],
  [
    'a zone by its name',
    'failover: [{ zone: eu-1 }]\n',
    2,
    "failover[0].zone: expected one of 'same', 'any', got \"eu-1\"",
  ],
  ['eleven levels', `failover: [${'{ zone: any }, '.repeat(11)}]\n`, 2, 'failover: expected a list of 1 to 10 entries'],
  ['overrides from no list', 'overrides: { from: gateway }\n', 2, 'overrides.from: expected a list'],
]

describe('a document', () => {
  it.each(BAD)('with %s is refused', async (_, text, line, message) => {
    const { revision } = registry
    const { code, stdout, stderr } = await command(['apply', '-f', '-'], `service: inventory\n${text}`)
    const [issue = '', ...rest] = stderr.trimEnd().split('\n')
    expect(issue).toMatch(new RegExp(`^<stdin>:${line}:\\d+ `))
    expect(issue).toContain(message)
    expect(rest).toEqual(['error: <stdin> has a mistake; nothing was applied'])
    expect([code, stdout]).toEqual([2, ''])
    expect(registry.revision).toBe(revision)
  })
})
