/** The services that the rules of a route send to, mirrors included. */
import type { Path } from '../options/fields.ts'
import type { GatewayRoute } from './read-manifest.ts'

export interface Backend {
  readonly service: string
  /** Of the reference. */
  readonly path: Path
  readonly isMirror: boolean
}

export function backendsWithPaths({ spec }: GatewayRoute): readonly Backend[] {
  return (spec.rules ?? []).flatMap(({ backendRefs = [], filters = [] }, i) => {
    const rule = ['spec', 'rules', i]
    const backends = backendRefs.map(({ name }, j) => {
      return { service: name, path: [...rule, 'backendRefs', j], isMirror: false }
    })
    const mirrors = filters.flatMap(({ requestMirror }, j) => {
      if (requestMirror === undefined) return []
      const path = [...rule, 'filters', j, 'requestMirror', 'backendRef']
      return [{ service: requestMirror.backendRef.name, path, isMirror: true }]
    })
    return [...backends, ...mirrors]
  })
}

export function backendsOf(route: GatewayRoute): ReadonlySet<string> {
  return new Set(backendsWithPaths(route).map(({ service }) => service))
}
