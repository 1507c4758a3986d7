/** Puts the manifests of a service behind the routes of its document. */
import { type Issue, list } from '../options/fields.ts'
import { ROUTE } from '../routing/route.ts'
import { unreachableRoutes } from '../routing/unreachable.ts'
import type { Exists } from './actions.ts'
import { type AttachedRoute, type OwnRoute, routesOf } from './service-routes.ts'

const ROUTES = list(ROUTE, { max: 1_000 })

type Document = Readonly<Record<string, unknown>>

/** The document that the callers of a service get: as applied, or one made of manifests alone. */
export function withManifests(
  service: string,
  own: Document | null,
  manifests: readonly AttachedRoute[],
  exists: Exists,
): Document | null {
  const before = Array.isArray(own?.routes) ? (own.routes as readonly unknown[]) : []
  const routes = routesOf(service, manifests, exists, before.flatMap(namesOf))
  return routes.length === 0 ? own : { ...(own ?? { service }), routes: reached(before, routes) }
}

/**
 * Manifests may name the same requests, and the first wins; what is never reached is left out. A
 * document's routes are judged when it is applied.
 */
function reached(before: readonly unknown[], after: readonly OwnRoute[]): readonly unknown[] {
  const all = [...before, ...after]
  const issues: Issue[] = []
  const read = ROUTES.parse(all, ['routes'], issues)
  // What is invalid is refused as it is.
  if (issues.length > 0) return all
  const unreachable = new Set(unreachableRoutes(read).map(({ path }) => path[1]))
  return all.filter((_, i) => i < before.length || !unreachable.has(i))
}

function namesOf(route: unknown): string[] {
  const name = typeof route === 'object' && route !== null && 'name' in route ? route.name : undefined
  return typeof name === 'string' ? [name] : []
}
