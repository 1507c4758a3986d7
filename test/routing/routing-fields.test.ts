import { describe, expect, it } from 'vitest'
import { checkPolicyDocument } from '../../src/discovery/check-document.ts'
import { type PolicyDocument, resolvePolicy } from '../../src/discovery/policy-document.ts'
import { describeIssue } from '../../src/options/fields.ts'

const DOCUMENT: PolicyDocument = {
  service: 'inventory',
  timeout: '800ms',
  retry: { attempts: 4, perTryTimeout: '200ms' },
  subsets: { blue: { version: 'v1' }, green: { version: 'v2', metadata: { track: 'next' } } },
  routes: [
    { name: 'beta', match: [{ headers: { 'X-Beta': '1' } }, { query: { beta: '*' } }], to: 'green' },
    {
      name: 'items',
      match: [{ method: ['GET', 'HEAD'], path: '/items/{id}' }],
      split: [
        { to: 'blue', weight: 90 },
        { to: 'green', weight: 10 },
      ],
      sticky: { header: 'X-User' },
      timeout: '300ms',
      retry: { attempts: 2 },
      mirror: { to: 'green', share: '5%' },
    },
    { name: 'quotes', match: [{ grpc: 'shop.Inventory/Quote' }], to: { service: 'inventory-eu', subset: 'green' } },
    { name: 'gone', respond: { status: 404 } },
  ],
  failover: [{ zone: 'same' }, { zone: 'any' }],
}

function mistakes(change: object): string[] {
  return checkPolicyDocument({ service: 'inventory', ...change }).map(describeIssue)
}

describe('the routes of a document', () => {
  it('are read with subsets, splits, mirrors and failover', () => {
    expect(checkPolicyDocument(DOCUMENT)).toEqual([])
    const { routing } = resolvePolicy(null, DOCUMENT)
    const [beta, items, quotes, gone] = routing!.routes
    expect(beta?.targets.map(({ key }) => key)).toEqual(['green'])
    expect(beta?.matches[0]?.headers).toEqual([['x-beta', { kind: 'exact', value: '1' }]])
    expect(items?.targets.map(({ key, weight }) => [key, weight])).toEqual([
      ['blue', 90],
      ['green', 10],
    ])
    expect(items?.targets[1]?.subset).toBe(routing!.subsets.get('green'))
    expect(items?.sticky).toEqual({ from: 'header', name: 'x-user' })
    expect(items?.mirrors.map(({ target, share }) => [target.key, share])).toEqual([['green', 0.05]])
    expect(items?.failover).toBe(routing!.failover)
    expect(quotes?.targets.map(({ key }) => key)).toEqual(['service:inventory-eu/green'])
    expect(gone?.targets).toEqual([])
    expect(gone?.answer).toMatchObject({ kind: 'respond', status: 404, grpcStatus: 12 })
  })

  it('put their policies key by key over those of the service and of the mesh', () => {
    const mesh: PolicyDocument = { service: 'mesh', retry: { budget: { ratio: 0.5 } }, hedge: {} }
    const { settings, routing } = resolvePolicy(mesh, DOCUMENT)
    const [beta, items] = routing!.routes
    expect(beta?.policy).toBe(settings)
    expect([...beta!.own]).toEqual([])
    expect([...items!.own]).toEqual(['timeout', 'retry'])
    expect(items?.policy.timeoutMs).toBe(300)
    expect(items?.policy.retry).toEqual({ ...settings.retry, attempts: 2 })
    expect(items?.policy.retry.budget.ratio).toBe(0.5)
    expect(items?.policy.hedge).toEqual(settings.hedge)
  })

  it('are absent where no document speaks of where calls go', () => {
    expect(
      resolvePolicy({ service: 'mesh', timeout: '2s' }, { service: 'inventory', hedge: {} }).routing,
    ).toBeUndefined()
    expect(resolvePolicy(null, null).routing).toBeUndefined()
    expect(resolvePolicy({ service: 'mesh', failover: [{ zone: 'same' }] }, null).routing?.failover).toHaveLength(1)
  })

  it.each([
    [{ subsets: {} }, 'subsets: expected an object of 1 to 100 entries, got an empty object'],
    [{ subsets: { a: {} } }, 'subsets.a: is empty; expected at least one of version, metadata'],
    [
      { routes: [{ name: 'a', match: [{ path: { exact: '/a', prefix: '/b' } }] }] },
      "routes[0].match[0].path: expected exactly one of exact, prefix, regex, got 'exact' and 'prefix'",
    ],
    [
      { routes: [{ name: 'a', headers: { request: { set: { Host: 'x' } } } }] },
      "routes[0].headers.request.set.Host: cannot be changed as a header; use 'rewrite: { host }'",
    ],
    [
      { routes: [{ name: 'a', redirect: { status: 305 } }] },
      'routes[0].redirect.status: expected one of 301, 302, 303, 307, 308, got 305',
    ],
    [
      { failover: [{ zone: 'same', region: 'any' }] },
      'failover[0]: expected exactly one of zone, region, metadata, service (with or without subset), got 2',
    ],
    [{ service: 'mesh', routes: [] }, 'routes: is valid in the document of a service only'],
    [
      { service: 'mesh', failover: [{ zone: 'same' }, { service: 'inventory' }] },
      'failover[1].service: is valid in the document of a service only: this level would be one of every service',
    ],
    [{ service: 'mesh', subsets: { a: { version: '1' } } }, 'subsets: is valid in the document of a service only'],
  ])('%j is refused: %s', (change, expected) => {
    expect(mistakes(change)).toContain(expected)
  })
})
