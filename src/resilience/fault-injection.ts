/**
 * Faults on purpose, to see how callers take them: some requests wait, or are answered with a
 * failure instead of being served. Rules only; the server doors carry them out, behind
 * authorization and limits, as if the service itself were slow or broken.
 */
import type { Clock } from '../core/clock.ts'
import { GRPC_STATUS, GRPC_STATUS_NAMES, type GrpcStatusName, grpcStatusOfHttp } from '../core/status.ts'
import type { Duration } from '../options/duration.ts'
import { check, type Field, fields, list, oneOf, optional, record, text, withDefault } from '../options/fields.ts'
import { duration, integer, share } from '../options/quantities.ts'

/** What goes wrong, and for whom. Everything given must match. */
export interface FaultRuleOptions {
  /** Wait so long, then the other fault, or else the handler. At most 5 min. */
  readonly delay?: Duration
  /** Answer with this status, 400 to 599, instead of asking the handler. */
  readonly status?: number
  /** The same for gRPC, such as `'UNAVAILABLE'`. @defaultValue what gRPC makes of `status` */
  readonly grpcStatus?: GrpcStatusName
  /** Share of the matching requests that are hit: `'5%'` or 0.05. @defaultValue `'100%'` */
  readonly share?: number | `${number}%`
  /** Only calls of this service. */
  readonly from?: string
  /** Only requests with these headers, each with exactly this value. */
  readonly headers?: Readonly<Record<string, string>>
}

export interface FaultRule {
  readonly delayMs: number
  /** HTTP. */
  readonly status: number | undefined
  readonly grpcStatus: number | undefined
  readonly share: number
  readonly from: string | undefined
  /** Names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[]
}

const FIELDS = fields({
  delay: optional(duration({ min: 1, max: 300_000 })),
  status: optional(integer({ min: 400, max: 599 })),
  grpcStatus: optional(oneOf(GRPC_STATUS_NAMES)),
  share: withDefault(share(), 1, '100%'),
  from: optional(text('the name of a calling service', /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 63)),
  headers: optional(record({ maxEntries: 16, maxLength: 256 })),
})

const RULE: Field<FaultRule> = {
  optional: false,
  schema: {
    ...FIELDS.schema,
    anyOf: [{ required: ['delay'] }, { required: ['status'] }, { required: ['grpcStatus'] }],
  },
  parse(value, path, issues) {
    const before = issues.length
    const given = FIELDS.parse(value, path, issues)
    const { delay, status, grpcStatus, share: hit, from } = given
    if (issues.length === before && delay === undefined && status === undefined && grpcStatus === undefined) {
      issues.push({ path, message: 'is no fault: expected delay, status or both, or grpcStatus' })
    }
    const headers = Object.entries(given.headers ?? {}).map(([name, text]) =>
      Object.freeze([name.toLowerCase(), text] as const),
    )
    return Object.freeze({
      delayMs: delay ?? 0,
      status,
      grpcStatus:
        grpcStatus === undefined
          ? status === undefined
            ? undefined
            : grpcStatusOfHttp(status)
          : GRPC_STATUS[grpcStatus],
      share: hit,
      from,
      headers: Object.freeze(headers),
    })
  },
}

/** The first that matches and is drawn counts. */
export const FAULTS_FIELD: Field<readonly FaultRule[]> = list(RULE, { max: 50 })

/** Validates and completes. @throws OptionsError naming each wrong field. */
export function resolveFaults(options: readonly FaultRuleOptions[], what = 'faults'): readonly FaultRule[] {
  return check(FAULTS_FIELD, options, what)
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
