/** Puts the manifests of a service behind the routes of its document. */
import type { Exists } from './actions.ts'
import { type AttachedRoute, routesOf } from './service-routes.ts'

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
  return routes.length === 0 ? own : { ...(own ?? { service }), routes: [...before, ...routes] }
}

function namesOf(route: unknown): string[] {
  const name = typeof route === 'object' && route !== null && 'name' in route ? route.name : undefined
  return typeof name === 'string' ? [name] : []
}
