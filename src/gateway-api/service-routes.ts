/**
 * The routes that the manifests of one service make, in the order in which they are tried. Routes
 * of consumers come first: where a namespace has some, those of the producer do not count for it.
 */
import type { Path } from '../options/fields.ts'
import { type Actions, type Exists, grpcActions, httpActions } from './actions.ts'
import { grpcCondition, httpCondition, type OwnMatch } from './conditions.ts'
import type { ManifestKind } from './manifest.ts'
import { byPrecedence, grpcSpecificity, httpSpecificity, type Ranked } from './precedence.ts'
import type { GatewayRoute } from './read-manifest.ts'

/** A manifest in force. */
export interface AttachedRoute {
  readonly route: GatewayRoute
  /** Wall clock, ms. A manifest that replaces another keeps the age of the first. */
  readonly createdAt: number
}

/** A route of a document, as users write it. */
export interface OwnRoute extends Actions {
  readonly name: string
  readonly match: readonly OwnMatch[]
}

interface Entry extends Ranked {
  readonly path: Path
  readonly name: string
  readonly match: OwnMatch
  readonly actions: Actions
}

/** What matches everything of a kind, and the answer to what no rule matches. */
const UNMATCHED = {
  HTTPRoute: { name: 'unmatched-http', match: { path: { prefix: '/' } }, respond: { status: 404 } },
  GRPCRoute: { name: 'unmatched-grpc', match: { grpc: '*/*' }, respond: { grpcStatus: 'UNIMPLEMENTED' } },
} as const

/** A rule that names no matches, and a route without rules. */
const EVERY_REQUEST = { path: undefined, headers: undefined, queryParams: undefined, method: undefined }
const EVERY_CALL = { method: undefined, headers: undefined }
const DEFAULT_RULE = {
  name: undefined,
  matches: undefined,
  filters: undefined,
  backendRefs: undefined,
  timeouts: undefined,
  retry: undefined,
  sessionPersistence: undefined,
}

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/**
 * @param manifests - in any order; those attached to other services are left out
 * @param exists - a backend of which this is false keeps its share, and fails at once
 * @param taken - names that other routes of the document have
 */
export function routesOf(
  service: string,
  manifests: readonly AttachedRoute[],
  exists: Exists,
  taken: Iterable<string> = [],
): readonly OwnRoute[] {
  const groups = new Map<string, { kind: ManifestKind; consumer: string | undefined; members: AttachedRoute[] }>()
  for (const manifest of [...manifests].sort(byAge)) {
    const { kind, attachments } = manifest.route
    for (const { service: its, consumer } of attachments) {
      if (its !== service) continue
      // In the order of their keys, consumers come first.
      const key = `${consumer === undefined ? 1 : 0}/${consumer ?? ''}/${kind}`
      const group = groups.get(key) ?? { kind, consumer, members: [] }
      groups.set(key, group)
      group.members.push(manifest)
    }
  }
  const used = new Set(taken)
  const sorted = [...groups].sort(([a], [b]) => (a < b ? -1 : 1))
  return sorted.flatMap(([, { kind, consumer, members }]) => {
    const entries = members.flatMap((member) => entriesOf(member, exists, used)).sort(byPrecedence)
    const { name, match, respond } = UNMATCHED[kind]
    const last = unused(consumer === undefined ? name : `${consumer}/${name}`, used)
    return [
      ...entries.map((entry) => ({ name: entry.name, match: [concerning(entry.match, consumer)], ...entry.actions })),
      { name: last, match: [concerning(match, consumer)], respond },
    ]
  })
}

function concerning(match: OwnMatch, consumer: string | undefined): OwnMatch {
  return consumer === undefined ? match : { ...match, fromNamespace: consumer }
}

/** So that names stay when another manifest comes. */
function byAge(a: AttachedRoute, b: AttachedRoute): number {
  if (a.createdAt !== b.createdAt) return a.createdAt - b.createdAt
  const [left, right] = [nameOf(a), nameOf(b)]
  return left === right ? (a.route.kind < b.route.kind ? -1 : 1) : left < right ? -1 : 1
}

function nameOf({ route: { key } }: AttachedRoute): string {
  return `${key.namespace}/${key.name}`
}

function entriesOf(manifest: AttachedRoute, exists: Exists, used: Set<string>): Entry[] {
  const { route, createdAt } = manifest
  const owner = nameOf(manifest)
  const shared = (rule: number, ruleName: string | undefined, match: number, matches: number) => {
    const label = ruleName !== undefined && LABEL.test(ruleName) ? ruleName : String(rule)
    return {
      name: unused(`${owner}/${label}${matches > 1 ? `/${match}` : ''}`, used),
      path: ['spec', 'rules', rule],
      ...{ createdAt, route: owner, rule },
    }
  }
  if (route.kind === 'HTTPRoute') {
    return (route.spec.rules ?? [DEFAULT_RULE]).flatMap((rule, i) => {
      const matches = nonEmpty(rule.matches, EVERY_REQUEST)
      const actions = httpActions(rule, exists, `${owner}/${rule.name ?? i}`)
      return matches.map((match, j) => ({
        ...shared(i, rule.name, j, matches.length),
        specificity: httpSpecificity(match),
        match: httpCondition(match),
        actions,
      }))
    })
  }
  return (route.spec.rules ?? []).flatMap((rule, i) => {
    const matches = nonEmpty(rule.matches, EVERY_CALL)
    const actions = grpcActions(rule, exists, `${owner}/${rule.name ?? i}`)
    return matches.map((match, j) => ({
      ...shared(i, rule.name, j, matches.length),
      specificity: grpcSpecificity(match),
      match: grpcCondition(match),
      actions,
    }))
  })
}

/** By the name of a route, where its rule stands in the manifest. */
export function placesOf(route: GatewayRoute): ReadonlyMap<string, Path> {
  const entries = entriesOf({ route, createdAt: 0 }, () => true, new Set())
  return new Map(entries.map(({ name, path }) => [name, path]))
}

function nonEmpty<T>(list: readonly T[] | undefined, otherwise: T): readonly T[] {
  return list === undefined || list.length === 0 ? [otherwise] : list
}

function unused(name: string, used: Set<string>): string {
  let free = name
  for (let i = 2; used.has(free); i++) free = `${name}-${i}`
  used.add(free)
  return free
}
