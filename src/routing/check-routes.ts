/**
 * Mistakes between the parts of a document that are each valid: names twice, subsets that are not
 * defined, and keys that contradict or need each other.
 */
import { isDeepStrictEqual } from 'node:util'
import { formatPath, type Issue, type ParsedShape, type Path } from '../options/fields.ts'
import { didYouMean } from '../options/nearest.ts'
import { takenBefore } from './failover-order.ts'
import { regexSize } from './linear-regex.ts'
import { unreadableHeader } from './readable-header.ts'
import type { GivenRoute } from './route.ts'
import type { ROUTING_FIELDS } from './routing-fields.ts'
import { sessionHeaderMistake } from './session.ts'
import type { FailoverLevel, MatchSettings, PathRewrite, StickySettings } from './settings.ts'
import type { GivenTarget } from './targets.ts'
import { unreachableRoutes } from './unreachable.ts'
import { HOST } from './value-match.ts'

type Given = ParsedShape<typeof ROUTING_FIELDS>

/** Of all regular expressions of a document: they bound the time of a decision. */
const MOST_INSTRUCTIONS = 10_000

/** Keys that a route with a fixed answer or redirect does not have: nothing is sent. */
const OF_SENDING = ['to', 'split', 'sticky', 'session', 'mirror', 'rewrite', 'failover'] as const

/**
 * @param given - the checked values
 * @param service - of the document; `undefined` for that of the mesh
 */
export function checkRoutes(given: Given, service: string | undefined, issues: Issue[]): void {
  new Check(given, service, issues).run()
}

class Check {
  readonly #given: Given
  readonly #service: string | undefined
  readonly #issues: Issue[]

  constructor(given: Given, service: string | undefined, issues: Issue[]) {
    this.#given = given
    this.#service = service
    this.#issues = issues
  }

  run(): void {
    const { routes = [], failover, unmatched } = this.#given
    this.#names(routes)
    for (const [i, route] of routes.entries()) this.#route(route, ['routes', i])
    this.#levels(failover, ['failover'])
    this.#expressions(routes)
    if (unmatched === 'refuse' && routes.length === 0)
      this.#say(['unmatched'], 'refuses every call: there are no routes')
    this.#issues.push(...unreachableRoutes(routes))
  }

  #say(path: Path, message: string): void {
    this.#issues.push({ path, message })
  }

  #names(routes: readonly GivenRoute[]): void {
    const first = new Map<string, number>()
    for (const [i, { name }] of routes.entries()) {
      const before = first.get(name)
      if (before === undefined) first.set(name, i)
      else this.#say(['routes', i, 'name'], `'${name}' is the name of routes[${before}], too; names are unique`)
    }
  }

  #route(route: GivenRoute, path: Path): void {
    const { match = [], to, split, mirror, rewrite, redirect, session, failover } = route
    for (const [i, one] of match.entries()) this.#match(one, [...path, 'match', i])
    this.#sticky(route.sticky, [...path, 'sticky', 'header'])
    const carrier = session?.header === undefined ? undefined : sessionHeaderMistake(session.header)
    if (carrier !== undefined) this.#say([...path, 'session', 'header'], carrier)
    this.#contradictions(route, path)
    this.#target(to, [...path, 'to'])
    this.#split(route, path)
    for (const [i, copy] of (mirror ?? []).entries()) {
      // A single one may be written without a list, and both lead to its line.
      const at = mirror!.length === 1 ? [...path, 'mirror'] : [...path, 'mirror', i]
      this.#target(copy.to, at)
      if (split === undefined && this.#key(copy.to) === this.#key(to)) {
        this.#say(at, 'copies requests to where the route sends them; expected another target')
      }
    }
    this.#levels(failover, [...path, 'failover'])
    this.#path(rewrite?.path, match, [...path, 'rewrite', 'path'])
    this.#path(redirect?.path, match, [...path, 'redirect', 'path'])
  }

  #match({ path, methods, query, grpc, headers, protocol }: MatchSettings, at: Path): void {
    for (const [name] of headers) {
      const why = unreadableHeader(name, protocol)
      if (why !== undefined) this.#say([...at, 'headers', name], why)
    }
    if (grpc !== undefined) {
      const http = [path && 'path', methods && 'method', query.length > 0 ? 'query' : undefined].filter(Boolean)
      if (http.length > 0) {
        this.#say(at, `names grpc and ${http.join(', ')}, which no request has together; write two matches`)
      }
    }
    const names = path?.kind === 'segments' ? path.names : []
    const twice = names.find((name, i) => names.indexOf(name) !== i)
    if (twice !== undefined) this.#say([...at, 'path'], `names {${twice}} twice; names of segments are unique`)
  }

  #sticky(sticky: StickySettings | undefined, at: Path): void {
    if (sticky?.from !== 'header') return
    const why =
      sticky.name === HOST
        ? "'host' is the same in every request to the service"
        : unreadableHeader(sticky.name, undefined)
    if (why !== undefined) this.#say(at, why)
  }

  #contradictions(route: GivenRoute, path: Path): void {
    const { to, split, sticky, session, redirect, respond } = route
    if (redirect !== undefined && respond !== undefined) {
      this.#say([...path, 'respond'], "contradicts 'redirect'; leave one out")
    }
    const answer = redirect !== undefined ? 'redirect' : respond !== undefined ? 'respond' : undefined
    const sending = answer === undefined ? undefined : OF_SENDING.find((key) => route[key] !== undefined)
    if (sending !== undefined) {
      this.#say([...path, answer!], `is an answer without a call, so '${sending}' has no effect; leave one out`)
      return
    }
    if (to !== undefined && split !== undefined) this.#say([...path, 'split'], "contradicts 'to'; leave one out")
    if (sticky !== undefined && session !== undefined) {
      this.#say([...path, 'session'], "contradicts 'sticky'; leave one out")
    }
    if (sticky !== undefined && split === undefined) {
      this.#say([...path, 'sticky'], "decides between the targets of 'split', which this route does not have")
    }
  }

  #split({ split = [], sticky }: GivenRoute, path: Path): void {
    const at = [...path, 'split']
    if (split.length > 0 && split.every(({ weight }) => weight === 0)) {
      this.#say(at, 'has only weights of 0; expected at least one above 0')
    }
    for (const [i, share] of split.entries()) {
      this.#target(share.to, [...at, i, 'to'])
      const before = split.findIndex(
        (other, j) =>
          j < i &&
          this.#key(other.to) === this.#key(share.to) &&
          (sticky !== undefined || isDeepStrictEqual(other.headers, share.headers)),
      )
      if (before >= 0) this.#say([...at, i], `has the target of split[${before}]; add its weight there`)
    }
  }

  #levels(levels: readonly FailoverLevel[] | undefined, path: Path): void {
    for (const [i, level] of (levels ?? []).entries()) {
      const before = takenBefore(levels!, i)
      if (before !== undefined)
        this.#say([...path, i], `takes no endpoint: ${formatPath([...path, before])} takes them all`)
      // The mesh's document has none, which is checked beside its other keys.
      if (level.kind !== 'service' || this.#service === undefined) continue
      const { service, subset } = level
      if (subset === undefined && service === this.#service) {
        this.#say([...path, i], `names '${service}' itself; write zone: any for all its endpoints`)
      } else this.#target({ service, subset, missing: undefined }, [...path, i])
    }
  }

  /** Only our own subsets: those of other services are in their documents. */
  #target(to: GivenTarget | undefined, path: Path): void {
    const { subset, service = this.#service } = to ?? {}
    if (subset === undefined || service !== this.#service) return
    const names = [...(this.#given.subsets?.keys() ?? [])]
    if (names.includes(subset)) return
    const defined = names.length === 0 ? 'it defines none' : `valid are ${names.slice(0, 20).join(', ')}`
    this.#say(path, `this document defines no subset '${subset}'${didYouMean(subset, names) || `; ${defined}`}`)
  }

  #key(to: GivenTarget | undefined): string {
    return JSON.stringify([to?.service ?? this.#service, to?.subset])
  }

  /** A path that takes parts of the path that was matched. */
  #path(rewrite: PathRewrite | undefined, match: readonly MatchSettings[], path: Path): void {
    if (rewrite === undefined) return
    const alternatives = match.length === 0 ? [undefined] : match
    const names = rewrite.kind === 'prefix' ? [] : [...rewrite.template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!)
    for (const [i, alternative] of alternatives.entries()) {
      const which = alternative === undefined ? 'a route without match' : `match[${i}]`
      const pattern = alternative?.path?.kind === 'segments' ? alternative.path : undefined
      if (alternative?.grpc !== undefined) {
        this.#say(path, `is the path of an HTTP request, but ${which} is for gRPC`)
      } else if (rewrite.kind === 'prefix' && (pattern === undefined || pattern.end === 'exact')) {
        this.#say(
          path,
          `replaces a prefix, but ${which} has none; expected path: { prefix } or a path that ends with '/*'`,
        )
      } else {
        const unbound = names.find((name) => !pattern?.names.includes(name))
        if (unbound === undefined) continue
        this.#say(path, `names {${unbound}}, which ${which} does not bind`)
      }
      return
    }
  }

  #expressions(routes: readonly GivenRoute[]): void {
    let sum = 0
    for (const [i, { match = [] }] of routes.entries()) {
      for (const { path, grpc, headers, query } of match) {
        const conditions = [path, grpc, ...headers.map(([, value]) => value), ...query.map(([, value]) => value)]
        for (const one of conditions) if (one?.kind === 'regex') sum += regexSize(one.source)
      }
      if (sum <= MOST_INSTRUCTIONS) continue
      const most = MOST_INSTRUCTIONS.toLocaleString('en')
      this.#say(['routes', i, 'match'], `brings the regular expressions to more than ${most} instructions in all`)
      return
    }
  }
}
