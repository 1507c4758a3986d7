/** Reads a manifest: every mistake with its path, and what it asks for in typed form. */
import type { Issue } from '../options/fields.ts'
import { sizeIssue } from '../options/size-issue.ts'
import { keyOf, type Manifest, type ManifestKey, OBJECT } from './manifest.ts'
import { type Attachment, attachmentsOf } from './references.ts'
import {
  checkGrpcRoute,
  checkHttpRoute,
  GRPC_ROUTE,
  type GrpcRouteSpec,
  HTTP_ROUTE,
  type HttpRouteSpec,
} from './route-spec.ts'

/** Far above any sensible manifest. Real ones are 13 deep, where backends have filters. */
const LARGEST = { deepest: 20, mostValues: 20_000, longestKey: 512, longestText: 262_144 }
/** More mistakes than this help no reader. */
const MOST_ISSUES = 50

interface Read {
  readonly key: ManifestKey
  /** Empty: it is for Gateways only. */
  readonly attachments: readonly Attachment[]
}

export interface HttpRoute extends Read {
  readonly kind: 'HTTPRoute'
  readonly spec: HttpRouteSpec
}

export interface GrpcRoute extends Read {
  readonly kind: 'GRPCRoute'
  readonly spec: GrpcRouteSpec
}

export type GatewayRoute = HttpRoute | GrpcRoute

/** Never throws, whatever `value` is. `route` is `undefined` where there are `issues`. */
export function readManifest(value: unknown): {
  readonly route: GatewayRoute | undefined
  readonly issues: readonly Issue[]
} {
  const size = sizeIssue(value, LARGEST)
  if (size !== undefined) return { route: undefined, issues: [size] }
  const issues: Issue[] = []
  OBJECT.parse(value, [], issues)
  if (issues.length > 0) return { route: undefined, issues: issues.slice(0, MOST_ISSUES) }
  const manifest = value as Manifest
  const route = manifest.kind === 'HTTPRoute' ? readHttp(manifest, issues) : readGrpc(manifest, issues)
  return issues.length === 0 ? { route, issues } : { route: undefined, issues: issues.slice(0, MOST_ISSUES) }
}

function readHttp(manifest: Manifest, issues: Issue[]): HttpRoute {
  const spec = HTTP_ROUTE.parse(manifest.spec, ['spec'], issues)
  // Only what is right in itself is worth comparing.
  if (issues.length === 0) checkHttpRoute(spec, issues)
  const key = keyOf(manifest)
  return { kind: 'HTTPRoute', key, spec, attachments: attached(spec, key, issues) }
}

function readGrpc(manifest: Manifest, issues: Issue[]): GrpcRoute {
  const spec = GRPC_ROUTE.parse(manifest.spec, ['spec'], issues)
  if (issues.length === 0) checkGrpcRoute(spec, issues)
  const key = keyOf(manifest)
  return { kind: 'GRPCRoute', key, spec, attachments: attached(spec, key, issues) }
}

function attached(
  spec: HttpRouteSpec | GrpcRouteSpec,
  key: ManifestKey,
  issues: readonly Issue[],
): readonly Attachment[] {
  return issues.length > 0 ? [] : attachmentsOf(spec.parentRefs ?? [], key.namespace)
}
