/** Manifests for tests: the parts that every one has are written once. */

import { readManifest } from '../../src/gateway-api/read-manifest.ts'
import { type AttachedRoute, type OwnRoute, routesOf } from '../../src/gateway-api/service-routes.ts'
import type { Issue } from '../../src/options/fields.ts'
import { formatPath } from '../../src/options/fields.ts'

type Rule = Readonly<Record<string, unknown>>

interface Extras {
  readonly namespace?: string
  readonly parent?: Readonly<Record<string, unknown>>
  readonly spec?: Readonly<Record<string, unknown>>
}

function manifest(kind: string, name: string, rules: readonly Rule[], { namespace, parent, spec }: Extras): object {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind,
    metadata: { name, ...(namespace !== undefined && { namespace }) },
    spec: { parentRefs: [{ group: '', kind: 'Service', name: 'echo', port: 80, ...parent }], rules, ...spec },
  }
}

/** Attached to the service `echo`. */
export const httpRoute = (name: string, rules: readonly Rule[], extras: Extras = {}): object =>
  manifest('HTTPRoute', name, rules, extras)
export const grpcRoute = (name: string, rules: readonly Rule[], extras: Extras = {}): object =>
  manifest('GRPCRoute', name, rules, extras)

export const to = (name: string, extras: object = {}): object => ({ name, port: 8080, ...extras })

/** `spec.rules[0].matches: message`. */
export function issuesOf(value: unknown): string[] {
  return readManifest(value).issues.map(({ path, message }: Issue) => `${formatPath(path)}: ${message}`)
}

/** Manifests of growing age: the first is the oldest. */
export function attached(manifests: readonly object[]): AttachedRoute[] {
  return manifests.map((one, i) => {
    const { route, issues } = readManifest(one)
    if (route === undefined) throw new Error(`not valid: ${JSON.stringify(issues)}`)
    return { route, createdAt: i }
  })
}

export function routes(manifests: readonly object[], missing: readonly string[] = []): readonly OwnRoute[] {
  return routesOf('echo', attached(manifests), (service) => !missing.includes(service))
}
