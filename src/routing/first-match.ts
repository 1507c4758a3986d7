/**
 * Decides route by route, in the order written, and says which condition fails: for people, and as
 * the meaning that the compiled {@link RouteTable} must have.
 */
import type { Protocol } from '../core/protocol.ts'
import type { RequestHead } from '../core/request-head.ts'
import { normalPath } from '../net/request-path.ts'
import { compileRegex } from './linear-regex.ts'
import { DEFAULT_NAMESPACE } from './match.ts'
import { isWhole, type PathPattern, type SegmentPattern } from './path-pattern.ts'
import type { GrpcMatch, MatchSettings, RouteSettings } from './settings.ts'
import { HOST, type ValueMatch } from './value-match.ts'

/** What routes look at. */
export interface RoutedRequest {
  readonly head: RequestHead
  readonly protocol: Protocol
  /** The calling service. */
  readonly caller: string
  /** The called service: what `host` says. `undefined`: no condition on it holds. */
  readonly service?: string
  /** Of the calling process. @defaultValue `default` */
  readonly namespace?: string
}

/** A condition of a match. */
export type Condition = 'protocol' | 'from' | 'fromNamespace' | 'grpc' | 'method' | 'path' | 'headers' | 'query'

/** The first route of which a match holds. */
export function firstMatch(routes: readonly RouteSettings[], request: RoutedRequest): RouteSettings | undefined {
  return routes.find((route) => route.matches.length === 0 || matchThatHolds(route, request) !== undefined)
}

/** The first alternative of a route that holds; `undefined`: none, or the route has none. */
export function matchThatHolds(route: RouteSettings, request: RoutedRequest): MatchSettings | undefined {
  return route.matches.find((match) => failedCondition(match, request) === undefined)
}

/** The first condition that fails; `undefined`: the match holds. */
export function failedCondition(match: MatchSettings, request: RoutedRequest): Condition | undefined {
  const { head, protocol, caller, namespace = DEFAULT_NAMESPACE } = request
  if (match.protocol !== undefined && match.protocol !== protocol) return 'protocol'
  if (match.from !== undefined && !match.from.includes(caller)) return 'from'
  if (match.namespace !== undefined && match.namespace !== namespace) return 'fromNamespace'
  if (match.grpc !== undefined && !grpcHolds(match.grpc, head.method)) return 'grpc'
  if (match.methods !== undefined && !match.methods.includes(head.method)) return 'method'
  if (match.path !== undefined && !pathHolds(match.path, head.path)) return 'path'
  if (!match.headers.every(([name, value]) => valueHolds(value, headerOf(request, name)))) return 'headers'
  if (match.query.length === 0) return undefined
  const mark = head.path.indexOf('?')
  const query = new URLSearchParams(mark < 0 ? '' : head.path.slice(mark))
  return match.query.every(([name, value]) => valueHolds(value, query.get(name) ?? undefined)) ? undefined : 'query'
}

/** The value of a header. `host` is that which the service sees, unless a route rewrites it. */
export function headerOf({ head, service }: Pick<RoutedRequest, 'head' | 'service'>, name: string): string | undefined {
  return name === HOST ? service : head.header(name)
}

/** Whether the conditions on `host` hold for every call to `service`. */
export function hostHolds(match: MatchSettings, service: string | undefined): boolean {
  return match.headers.every(([name, value]) => name !== HOST || valueHolds(value, service))
}

function grpcHolds(match: GrpcMatch, method: string): boolean {
  if (match.kind === 'regex') return compileRegex(match.source)(method.slice(1))
  const [, service, name, ...more] = method.split('/')
  if (service === undefined || service === '' || name === undefined || name === '' || more.length > 0) return false
  return (match.service ?? service) === service && (match.method ?? name) === name
}

/** Whether `target`, whose query does not count, has such a path. */
export function pathHolds(pattern: PathPattern, target: string): boolean {
  if (pattern.kind === 'regex') {
    const path = normalPath(target)
    return path !== undefined && compileRegex(pattern.source)(path)
  }
  if (isWhole(pattern)) return true
  const path = normalPath(target)
  return path !== undefined && segmentsHold(pattern, path.split('/').slice(1))
}

function segmentsHold({ segments, end }: SegmentPattern, given: readonly string[]): boolean {
  if (given.length < segments.length) return false
  const alike = segments.every((segment, i) => (segment === undefined ? given[i] !== '' : segment === given[i]))
  if (!alike) return false
  const more = given.slice(segments.length)
  if (end === 'exact') return more.length === 0
  return end === 'prefix' || more.join('/') !== ''
}

function valueHolds(match: ValueMatch, value: string | undefined): boolean {
  if (value === undefined) return false
  if (match.kind === 'present') return true
  return match.kind === 'exact' ? match.value === value : compileRegex(match.source)(value)
}
