/** The services that the rules of a route send to, mirrors included. */
import type { GatewayRoute } from './read-manifest.ts'

export function backendsOf({ spec }: GatewayRoute): ReadonlySet<string> {
  const found = new Set<string>()
  for (const { backendRefs, filters } of spec.rules ?? []) {
    for (const { name } of backendRefs ?? []) found.add(name)
    for (const { requestMirror } of filters ?? []) {
      if (requestMirror !== undefined) found.add(requestMirror.backendRef.name)
    }
  }
  return found
}
