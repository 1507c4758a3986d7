/** Routes that no request reaches, because earlier ones match all that they match. */
import type { Issue } from '../options/fields.ts'
import { covers } from './covers.ts'
import type { MatchSettings } from './settings.ts'

/** As much of a route as decides whether it is reached. */
interface Reached {
  readonly name: string
  readonly match: readonly MatchSettings[] | undefined
}

/** Bounds the work for the largest documents; what is beyond it is not compared. */
const MOST_COMPARISONS = 2_000_000

const EVERY_REQUEST: MatchSettings = Object.freeze({
  methods: undefined,
  path: undefined,
  headers: Object.freeze([]),
  query: Object.freeze([]),
  grpc: undefined,
  from: undefined,
  protocol: undefined,
})
const ALL: readonly MatchSettings[] = Object.freeze([EVERY_REQUEST])

export function unreachableRoutes(routes: readonly Reached[]): readonly Issue[] {
  const issues: Issue[] = []
  let left = MOST_COMPARISONS
  const earlier: { readonly match: MatchSettings; readonly route: number }[] = []
  for (const [route, { match = ALL }] of routes.entries()) {
    const by = new Set<number>()
    const reached = match.some((alternative) => {
      left -= earlier.length
      if (left < 0) return true
      const cover = earlier.find((other) => covers(other.match, alternative))
      if (cover !== undefined) by.add(cover.route)
      return cover === undefined
    })
    if (!reached) issues.push({ path: ['routes', route], message: reason(by, routes) })
    for (const alternative of match) earlier.push({ match: alternative, route })
  }
  return issues
}

function reason(by: ReadonlySet<number>, routes: readonly Reached[]): string {
  const names = [...by].sort((a, b) => a - b).map((route) => `'${routes[route]!.name}' (routes[${route}])`)
  const one = names.length === 1
  const who = one ? names[0] : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`
  return `is never reached: ${who} before it match${one ? 'es' : ''} every request that it matches`
}
