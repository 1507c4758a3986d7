/**
 * Measures how long it takes to find a call's route and target. `npm run bench:policies` runs it
 * after the policies; `node --expose-gc bench/routes.ts [--json]`.
 */

import { Destination } from '../src/client/destination.ts'
import { DoubtedEndpoints } from '../src/client/doubted-endpoints.ts'
import type { Transport } from '../src/client/transport.ts'
import { systemClock } from '../src/core/clock.ts'
import type { RequestHead } from '../src/core/request-head.ts'
import { SILENT } from '../src/core/telemetry.ts'
import { type PolicyDocument, resolvePolicy } from '../src/discovery/policy-document.ts'
import type { MatchOptions } from '../src/routing/match.ts'
import type { RouteOptions } from '../src/routing/route.ts'
import { RouteTable } from '../src/routing/route-table.ts'
import { SplitTurns, stickyIndex } from '../src/routing/split.ts'
import { type Report, runQuestions, single } from './harness.ts'
import { bytes, nanoseconds } from './in-process.ts'

const ROUTES = 100
const CALLS = 1_000
const METHODS = ['GET', 'POST', 'PUT', 'DELETE'] as const

class Head implements RequestHead {
  readonly method: string
  readonly path: string
  readonly #headers: readonly string[]

  constructor(method: string, path: string, headers: readonly string[] = []) {
    this.method = method
    this.path = path
    this.#headers = headers
  }

  header(name: string): string | undefined {
    for (let i = 0; i < this.#headers.length; i += 2) if (this.#headers[i] === name) return this.#headers[i + 1]
    return undefined
  }
}

interface Case {
  readonly name: string
  readonly match: (i: number) => MatchOptions
  /** A request that route `i` matches. */
  readonly head: (i: number) => Head
  readonly protocol?: 'http' | 'grpc'
}

const USUAL = ['accept', 'application/json', 'x-user', '42', 'user-agent', 'inmesh', 'cookie', 'a=b']
const resource = (i: number): string => `/resource-${i >> 2}`

const CASES: readonly Case[] = [
  {
    name: 'exact paths',
    match: (i) => ({ path: `/v1/page-${i}/index` }),
    head: (i) => new Head('GET', `/v1/page-${i}/index`),
  },
  {
    name: 'methods and templates',
    match: (i) => ({ method: METHODS[i & 3]!, path: `${resource(i)}/{id}/items/{item}` }),
    head: (i) => new Head(METHODS[i & 3]!, `${resource(i)}/4711/items/${i * 7}?page=2`),
  },
  {
    name: 'prefixes',
    match: (i) => ({ path: { prefix: `/team-${i}/api` } }),
    head: (i) => new Head('GET', `/team-${i}/api/v1/users/42`),
  },
  {
    name: 'the value of a header',
    match: (i) => ({ headers: { 'x-tenant': `tenant-${i}` } }),
    head: (i) => new Head('GET', '/items/42', [...USUAL, 'x-tenant', `tenant-${i}`]),
  },
  {
    name: 'a path and a header',
    match: (i) => ({ path: `${resource(i)}/*`, headers: { 'x-version': `${i & 3}` } }),
    head: (i) => new Head('GET', `${resource(i)}/42`, [...USUAL, 'x-version', `${i & 3}`]),
  },
  {
    name: 'a path and a query',
    match: (i) => ({ path: resource(i), query: { version: `${i & 3}` } }),
    head: (i) => new Head('GET', `${resource(i)}?page=2&version=${i & 3}`),
  },
  {
    name: 'gRPC methods',
    match: (i) => ({ grpc: `shop.Service${i >> 2}/Method${i & 3}` }),
    head: (i) => new Head(`/shop.Service${i >> 2}/Method${i & 3}`, `/shop.Service${i >> 2}/Method${i & 3}`),
    protocol: 'grpc',
  },
  {
    name: 'templates, and no match',
    match: (i) => ({ path: `${resource(i)}/{id}` }),
    head: (i) => new Head('GET', `/other-${i}/42/x`),
  },
]

function documentOf({ match }: Pick<Case, 'match'>): PolicyDocument {
  const routes: RouteOptions[] = Array.from({ length: ROUTES }, (_, i) => ({ name: `route-${i}`, match: [match(i)] }))
  return { service: 'inventory', routes }
}

function headsOf({ head }: Pick<Case, 'head'>): Head[] {
  return Array.from({ length: ROUTES }, (_, i) => head((i * 37) % ROUTES))
}

/** What a client asks for each call: the stack, and with routes the route and its target, too. */
function selections(one: Case, document: PolicyDocument | null): () => void {
  const clock = systemClock
  const destination = new Destination('inventory', 'http', {
    clock,
    telemetry: SILENT,
    events: { emit() {} },
    transport: { probe: () => () => () => {}, prefer() {} } as unknown as Transport,
    idempotent: new Set(['GET']),
    client: { id: 'client-1', zone: undefined },
    doubted: new DoubtedEndpoints(clock, true),
    caller: 'checkout',
    hold: () => undefined,
    successor: () => undefined,
  })
  destination.configure(resolvePolicy(null, document))
  destination.apply({ instances: [], intended: true, stale: false, left: new Set(), frozen: false })
  const heads = headsOf(one)
  let next = 0
  return () => {
    next = next + 1 === ROUTES ? 0 : next + 1
    destination.select(heads[next]!, false)
  }
}

/** Asks for each route in turn; every request is a new text, as in a process. */
function decisions(one: Case): () => void {
  const routes = resolvePolicy(null, documentOf(one)).routing!.routes
  const table = new RouteTable(routes, 'checkout', one.protocol ?? 'http')
  const heads = headsOf(one)
  let next = 0
  return () => {
    next = next + 1 === ROUTES ? 0 : next + 1
    table.find(heads[next]!)
  }
}

export async function routes(): Promise<Report> {
  const works = CASES.map((one) => [`a route of ${ROUTES} by ${one.name}`, decisions(one)] as const)
  // Warmed by turns: a process decides by all kinds of conditions.
  for (let round = 0; round < 20; round++) for (const [, work] of works) for (let i = 0; i < CALLS; i++) work()
  const turns = new SplitTurns(targets(90, 10), Math.random())
  const keys = Array.from({ length: CALLS }, (_, i) => `3f2504e0-4f89-11d3-9a0c-${i}`)
  const both = targets(90, 10)
  let next = 0
  const usual = CASES[1]!
  const rows = [
    ...works,
    ['the stack of a service without routes', selections(usual, null)] as const,
    ['the same with 100 routes', selections(usual, documentOf(usual))] as const,
    ['a target of two by turns', () => void turns.next()] as const,
    [
      'a target of two by a sticky key',
      () => {
        next = next + 1 === CALLS ? 0 : next + 1
        stickyIndex(both, keys[next]!)
      },
    ] as const,
  ].map(([feature, work]) => ({
    feature,
    'ns/decision': Math.round(nanoseconds(CALLS, work)),
    'bytes/decision': bytes(5_000, work) ?? '',
  }))
  const found = rows.slice(0, CASES.length)
  const slowest = Math.max(...found.map((row) => row['ns/decision']))
  const largest = Math.max(...found.map((row) => Number(row['bytes/decision'])))
  return {
    title: `What it takes to find a route among ${ROUTES}, and its target`,
    rows,
    targets: [
      { what: 'ns to find a route', found: single(slowest), wanted: { atMost: 1_000 } },
      // Less than the smallest object: the engine allocates now and then for itself.
      { what: 'bytes per route found', found: single(largest), wanted: { atMost: 8 } },
    ],
    figures: { routes: Object.fromEntries(rows.map((row) => [row.feature, row['ns/decision']])) },
  }
}

function targets(...weights: number[]): { key: string; weight: number }[] {
  return weights.map((weight, i) => ({ key: `side-${i}`, weight }))
}

if (import.meta.main) await runQuestions([routes])
