/**
 * Which route a request takes, and why not the ones before it: for people. The decision is that of
 * `firstMatch`.
 */
import { type Condition, failedCondition, headerOf, type RoutedRequest } from './first-match.ts'
import { DEFAULT_NAMESPACE } from './match.ts'
import type { PathPattern } from './path-pattern.ts'
import type { GrpcMatch, MatchSettings, RouteSettings } from './settings.ts'
import type { ValueMatch } from './value-match.ts'

/** A condition that fails. */
export interface FailedCondition {
  /** Of the alternatives of a route, counted from 0. */
  readonly match: number
  /** Such as `headers.x-beta` or `path`. */
  readonly condition: string
  /** As the document writes it. */
  readonly expected: string
  /** The value of the request; `null`: it has none. */
  readonly seen: string | null
}

/** One route that was tried. */
export interface TriedRoute {
  readonly name: string
  /** The alternative that holds; `null`: none does, or the route takes every request. */
  readonly match: number | null
  readonly matched: boolean
  /** Of each alternative that does not hold, the first condition that fails. */
  readonly failed: readonly FailedCondition[]
}

/** The routes up to the one that takes the request; all if none does. */
export function triedRoutes(routes: readonly RouteSettings[], request: RoutedRequest): TriedRoute[] {
  const tried: TriedRoute[] = []
  for (const route of routes) {
    const one = tryRoute(route, request)
    tried.push(one)
    if (one.matched) break
  }
  return tried
}

function tryRoute({ name, matches }: RouteSettings, request: RoutedRequest): TriedRoute {
  const failed: FailedCondition[] = []
  for (const [i, match] of matches.entries()) {
    const condition = failedCondition(match, request)
    if (condition === undefined) return { name, match: i, matched: true, failed }
    failed.push({ match: i, ...describe(condition, match, request) })
  }
  return { name, match: null, matched: matches.length === 0, failed }
}

type Described = Omit<FailedCondition, 'match'>

function describe(condition: Condition, match: MatchSettings, request: RoutedRequest): Described {
  const { head, protocol, caller, namespace = DEFAULT_NAMESPACE } = request
  switch (condition) {
    case 'protocol':
      return { condition, expected: String(match.protocol), seen: protocol }
    case 'from':
      return { condition, expected: (match.from ?? []).join(', '), seen: caller === '' ? null : caller }
    case 'fromNamespace':
      return { condition, expected: String(match.namespace), seen: namespace }
    case 'grpc':
      return { condition, expected: grpcText(match.grpc!), seen: head.method.slice(1) }
    case 'method':
      return { condition, expected: (match.methods ?? []).join(', '), seen: head.method }
    case 'path':
      return { condition, expected: pathText(match.path!), seen: head.path.split('?', 1)[0]! }
    case 'headers':
    case 'query': {
      const entries = match[condition]
      const [name, value] = entries.find((entry) => fails(condition, entry, match, request)) ?? entries[0]!
      const seen = condition === 'headers' ? headerOf(request, name) : queryOf(head.path).get(name)
      return { condition: `${condition}.${name}`, expected: valueText(value), seen: seen ?? null }
    }
  }
}

function fails(
  kind: 'headers' | 'query',
  entry: readonly [string, ValueMatch],
  match: MatchSettings,
  request: RoutedRequest,
): boolean {
  const alone = { ...match, headers: [], query: [], [kind]: [entry] }
  return failedCondition(alone, request) === kind
}

function queryOf(target: string): URLSearchParams {
  const mark = target.indexOf('?')
  return new URLSearchParams(mark < 0 ? '' : target.slice(mark))
}

function grpcText(match: GrpcMatch): string {
  return match.kind === 'regex' ? `regex ${match.source}` : `${match.service ?? '*'}/${match.method ?? '*'}`
}

/** As documents write it; `prefix` and `regex` stand before theirs. */
export function pathText(pattern: PathPattern): string {
  if (pattern.kind === 'regex') return `regex ${pattern.source}`
  const { segments, names, end } = pattern
  let bound = 0
  const written = segments.map((segment) => `/${segment ?? `{${names[bound++] ?? ''}}`}`).join('')
  if (end === 'prefix') return `prefix ${written === '' ? '/' : written}`
  return end === 'rest' ? `${written}/*` : written
}

function valueText(match: ValueMatch): string {
  if (match.kind === 'present') return '*'
  return match.kind === 'exact' ? match.value : `regex ${match.source}`
}
