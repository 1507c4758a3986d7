/** Routes that no request reaches, because earlier ones match all that they match. */
import type { Issue } from '../options/fields.ts'
import { covers, isComparable, sharedBy, sharedWith } from './covers.ts'
import type { MatchSettings } from './settings.ts'

/** As much of a route as decides whether it is reached. */
interface Reached {
  readonly name: string
  readonly match: readonly MatchSettings[] | undefined
}

interface Earlier {
  readonly match: MatchSettings
  readonly route: number
}

/** Bounds the work for the largest documents; what is beyond it is not compared. */
const MOST_COMPARISONS = 100_000

const EVERY_REQUEST: MatchSettings = Object.freeze({
  methods: undefined,
  path: undefined,
  headers: Object.freeze([]),
  query: Object.freeze([]),
  grpc: undefined,
  from: undefined,
  namespace: undefined,
  protocol: undefined,
})
const ALL: readonly MatchSettings[] = Object.freeze([EVERY_REQUEST])

export function unreachableRoutes(routes: readonly Reached[]): readonly Issue[] {
  const issues: Issue[] = []
  let left = MOST_COMPARISONS
  const earlier = new Map<string, Earlier[]>()
  for (const [route, { match = ALL }] of routes.entries()) {
    const by = new Set<number>()
    const reached = match.flatMap(byMethod).some((alternative) => {
      for (const shared of sharedWith(alternative)) {
        const candidates = earlier.get(shared) ?? []
        left -= candidates.length
        if (left < 0) return true
        const cover = candidates.find((other) => covers(other.match, alternative))
        if (cover === undefined) continue
        by.add(cover.route)
        return false
      }
      return true
    })
    if (!reached) issues.push({ path: ['routes', route], message: reason(by, routes) })
    for (const alternative of match.filter(isComparable)) {
      const shared = sharedBy(alternative)
      const alike = earlier.get(shared)
      if (alike === undefined) earlier.set(shared, [{ match: alternative, route }])
      else alike.push({ match: alternative, route })
    }
  }
  return issues
}

/** One match per method, and by protocol, because several earlier ones may cover it together. */
function byMethod(match: MatchSettings): readonly MatchSettings[] {
  const { methods, protocol, grpc } = match
  if (methods !== undefined) return methods.map((method) => ({ ...match, methods: [method] }))
  if (protocol !== undefined || grpc !== undefined) return [match]
  return [
    { ...match, protocol: 'http' },
    { ...match, protocol: 'grpc' },
  ]
}

function reason(by: ReadonlySet<number>, routes: readonly Reached[]): string {
  const names = [...by].sort((a, b) => a - b).map((route) => `'${routes[route]!.name}' (routes[${route}])`)
  const one = names.length === 1
  const who = one ? names[0] : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`
  return `is never reached: ${who} before it match${one ? 'es' : ''} every request that it matches`
}
