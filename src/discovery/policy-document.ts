/**
 * One document of policy per service, and `mesh` for the defaults of all. A document says only what
 * it says: defaults are filled in when the documents of `mesh` and of a service have been merged,
 * so that a later change of either counts.
 */
import { check, fields, type JsonSchema, list, oneOf, optional, type Parsed } from '../options/fields.ts'
import { merge } from '../options/merge.ts'
import { serviceName } from '../options/names.ts'
import { SERVICE, type ServiceOptions, type ServiceSettings } from '../resilience/settings.ts'
import { ROUTING_FIELDS, type RoutingOptions, resolveRouting } from '../routing/routing-fields.ts'
import type { RoutingSettings } from '../routing/settings.ts'
import {
  type AccessLogPolicy,
  type AccessLogPolicyOptions,
  DOCUMENT_ACCESS_LOG,
} from '../telemetry/access-log/settings.ts'
import { INTENTIONS, type Intention, withoutGaps } from './intention.ts'
import { MESH_DOCUMENT } from './mesh-document.ts'
import { TAP_HEADER } from './tap/header.ts'

export { MESH_DOCUMENT }

/** A document as it is written, applied, stored and sent. */
export interface PolicyDocument extends ServiceOptions, RoutingOptions {
  readonly service: string
  /**
   * Replaces the list of `mesh`. With a list, only its callers may call, whatever the default;
   * `[]`: no caller may.
   */
  readonly allow?: readonly Intention[]
  /**
   * Only in `mesh`: what holds for services without a list. @defaultValue `deny`; `allow` in a mesh
   * started with `--dev`
   */
  readonly defaultIntention?: 'allow' | 'deny'
  /**
   * What processes log of the calls to the service, and its own of the requests that they serve, if
   * they have a logger (`joinMesh({ accessLog: { log } })`). `{}`: with what the process says;
   * `false`: nothing. @defaultValue what each process says
   */
  readonly accessLog?: AccessLogPolicyOptions | false
  /**
   * Only in `mesh`: `headers` lists the request headers, in lower case, that operators may ask for
   * when they watch single calls (`inmesh tap`). Headers of secrets cannot be listed.
   * @defaultValue none
   */
  readonly tap?: { readonly headers?: readonly string[] }
}

/** Everything that is in force for one service. Frozen. */
export interface ServicePolicy {
  readonly settings: ServiceSettings
  readonly allow: readonly Intention[]
  /** Where calls go. `undefined`: to the service as it is; no document says anything else. */
  readonly routing: RoutingSettings | undefined
  /** What holds for a caller that no intention names. */
  readonly defaultIntention: 'allow' | 'deny'
  /** `undefined`: no document says anything. */
  readonly accessLog: AccessLogPolicy | false | undefined
}

const MOST_TAP_HEADERS = 32

/** Checks a document as it is written. */
export const POLICY_DOCUMENT = fields({
  service: serviceName(),
  ...SERVICE.shape,
  ...ROUTING_FIELDS,
  allow: optional(INTENTIONS),
  accessLog: optional(DOCUMENT_ACCESS_LOG),
  defaultIntention: optional(oneOf(['allow', 'deny'])),
  tap: optional(fields({ headers: optional(list(TAP_HEADER, { max: MOST_TAP_HEADERS })) })),
})

/** Keys that the document of `mesh` cannot have. */
export const OF_SERVICES = ['subsets', 'routes', 'unmatched'] as const satisfies readonly (keyof PolicyDocument)[]

/**
 * What is in force for a service: its document over that of `mesh` over the defaults. Objects are
 * merged key by key, lists are replaced. Both documents must have been checked; then it never
 * throws.
 *
 * @param meshDocument - the document of `mesh`, or `null`
 * @param serviceDocument - the service's own, or `null`
 * @throws OptionsError if a document was not checked and is wrong
 * @example
 * ```ts
 * resolvePolicy({ service: 'mesh', timeout: '2s' }, { service: 'inventory', retry: { attempts: 2 } }).settings.timeoutMs // 2000
 * ```
 */
export function resolvePolicy(
  meshDocument: PolicyDocument | null,
  serviceDocument: PolicyDocument | null,
  options: { readonly dev?: boolean } = {},
): ServicePolicy {
  const merged = merge(meshDocument ?? {}, serviceDocument ?? {})
  const given: Parsed<typeof POLICY_DOCUMENT> = check(POLICY_DOCUMENT, { service: MESH_DOCUMENT, ...merged }, 'policy')
  // The mesh's word, even if an unchecked service document says otherwise.
  const unnamed = meshDocument?.defaultIntention ?? (options.dev === true ? 'allow' : 'deny')
  const settings = fitTogether(SERVICE.settings(given))
  return Object.freeze({
    settings,
    routing: resolveRouting(given, (merged.routes ?? []) as readonly object[], {
      service: given.service,
      settings,
      over: (own) => fitTogether(SERVICE.resolve(merge(ofService(merged), own))),
    }),
    allow: Object.freeze((given.allow ?? []).map(withoutGaps)),
    defaultIntention: given.allow === undefined ? unnamed : 'deny',
    accessLog: given.accessLog,
  })
}

/** The keys of a merged document that are policies of its service. */
function ofService(merged: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(merged).filter(([key]) => Object.hasOwn(SERVICE.shape, key)))
}

/**
 * Values from two documents may not fit each other: the total wins over its parts, a first wait
 * over the longest.
 */
function fitTogether(settings: ServiceSettings): ServiceSettings {
  const { retry, timeoutMs } = settings
  const { baseMs, maxMs } = retry.backoff
  if (retry.perTryTimeoutMs <= timeoutMs && baseMs <= maxMs) return settings
  const backoff = Object.freeze({ ...retry.backoff, maxMs: Math.max(baseMs, maxMs) })
  const perTryTimeoutMs = Math.min(retry.perTryTimeoutMs, timeoutMs)
  return Object.freeze({ ...settings, retry: Object.freeze({ ...retry, perTryTimeoutMs, backoff }) })
}

/** The JSON Schema (2020-12) of a document, as published in `policy.schema.json`. */
export function policyJsonSchema(): JsonSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'inmesh policy document',
    description: `The policy of one service, or of all with service: ${MESH_DOCUMENT}`,
    ...POLICY_DOCUMENT.schema,
    if: { not: { properties: { service: { const: MESH_DOCUMENT } } } },
    then: { properties: { defaultIntention: false, tap: false } },
    else: {
      properties: {
        ...Object.fromEntries(OF_SERVICES.map((key) => [key, false])),
        failover: { items: { properties: { service: false, subset: false } } },
      },
    },
  }
}
