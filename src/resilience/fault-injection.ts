/**
 * Fault rules: some requests wait, or fail instead of being served, to show how callers cope.
 * Servers apply them after authorization and limits, as if the service itself were slow or broken.
 */
import type { Clock } from '../core/clock.ts'
import { GRPC_STATUS, GRPC_STATUS_NAMES, grpcStatusOfHttp } from '../core/status.ts'
import { check, type Field, list, oneOf, optional, record, text, withDefault } from '../options/fields.ts'
import { SERVICE_NAME } from '../options/names.ts'
import { duration, integer, share } from '../options/quantities.ts'
import { definePolicy, type OptionsOf, type SettingsOf } from './define-policy.ts'

const definition = definePolicy(
  'fault',
  {
    /** A wait before the other fault, or else before the handler. @defaultValue none */
    delay: optional(duration({ min: 1, max: 300_000 })),
    /** The status of the answer; the handler is not asked. @defaultValue none */
    status: optional(integer({ min: 400, max: 599 })),
    /**
     * The same for gRPC, such as `'UNAVAILABLE'`. @defaultValue the gRPC status that `status` maps
     * to (503 is `UNAVAILABLE`, 500 `UNKNOWN`)
     */
    grpcStatus: optional(oneOf(GRPC_STATUS_NAMES)),
    /** Share of the matching requests that are hit: `'5%'` or 0.05. @defaultValue `'100%'` */
    share: withDefault(share(), '100%'),
    /** Only calls of this service, proven by its certificate. @defaultValue all */
    from: optional(text('the name of a calling service', SERVICE_NAME, 63)),
    /**
     * Only requests with these headers (at most 16), each with exactly this value. @defaultValue
     * all
     */
    headers: optional(record({ maxEntries: 16, maxLength: 256 })),
  },
  ({ delayMs, status, grpcStatus, share: hit, from, headers }) => ({
    delayMs: delayMs ?? 0,
    status,
    grpcStatus: grpcStatus === undefined ? status && grpcStatusOfHttp(status) : GRPC_STATUS[grpcStatus],
    share: hit,
    from,
    headers: Object.freeze(
      Object.entries(headers ?? {}).map(([name, value]) => Object.freeze([name.toLowerCase(), value] as const)),
    ),
  }),
)

/** The fault, and the requests that it hits: they match every condition given. */
export interface FaultRuleOptions extends OptionsOf<typeof definition> {}
/** `status` is that of HTTP; names of headers are in lower case. */
export interface FaultRule extends SettingsOf<typeof definition> {}

const RULE: Field<FaultRule, FaultRuleOptions> = {
  optional: false,
  schema: {
    ...definition.schema,
    anyOf: [{ required: ['delay'] }, { required: ['status'] }, { required: ['grpcStatus'] }],
  },
  parse(value, path, issues) {
    const before = issues.length
    const rule = definition.parse(value, path, issues)
    if (issues.length === before && rule.delayMs === 0 && rule.grpcStatus === undefined) {
      issues.push({ path, message: 'is no fault: expected delay, status or both, or grpcStatus' })
    }
    return rule
  },
}

/** The first that matches and is drawn counts. */
const RULES = list(RULE, { max: 50 })

export const FAULTS: Field<readonly FaultRule[], readonly FaultRuleOptions[]> = {
  ...RULES,
  parse(value, path, issues) {
    if (typeof (value as { before?: unknown } | null)?.before !== 'function') return RULES.parse(value, path, issues)
    const message =
      'expected a list of rules such as [{ status: 503 }], got a switch of inmesh/testing, which goes before the ' +
      'handler: mesh.serve(faults.before(app))'
    issues.push({ path, message })
    return []
  },
}

/** Validates and completes. @throws OptionsError naming each wrong field. */
export function resolveFaults(options: readonly FaultRuleOptions[], what = 'faults'): readonly FaultRule[] {
  return check(FAULTS, options, what)
}

/** What is known of a request when a fault is drawn for it. */
export interface Faultable {
  /** The caller's service, proven. */
  readonly peer: string | undefined
  header(name: string): string | undefined
}

/** The fault for `request`, drawn anew each time; `undefined`: none. */
export function drawFault(rules: readonly FaultRule[], request: Faultable, clock: Clock): FaultRule | undefined {
  for (const rule of rules) {
    if (rule.from !== undefined && rule.from !== request.peer) continue
    if (!rule.headers.every(([name, value]) => request.header(name) === value)) continue
    if (rule.share >= 1 || clock.random() < rule.share) return rule
  }
  return undefined
}
