/** The names of routes that only manifests make, so that none is another route's. */
import { type Issue, show } from '../options/fields.ts'

const OF_MANIFESTS: ReadonlySet<string> = new Set(['unmatched-http', 'unmatched-grpc'])

/** Whether an author may give a route this name, which is valid. */
export function isAuthorsName(name: string): boolean {
  return !name.includes('/') && !OF_MANIFESTS.has(name)
}

export function checkRouteNames(routes: readonly { readonly name: string }[], issues: Issue[]): void {
  for (const [i, { name }] of routes.entries()) {
    if (isAuthorsName(name)) continue
    const message = `${show(name)} is a name that only routes of Gateway manifests have; expected another, without '/'`
    issues.push({ path: ['routes', i, 'name'], message })
  }
}
