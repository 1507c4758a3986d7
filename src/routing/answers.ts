/** What a route changes of a request's path and host, and the answers it gives itself. */
import { GRPC_STATUS, GRPC_STATUS_NAMES, grpcStatusOfHttp } from '../core/status.ts'
import { byKind, convert, entriesOf } from '../options/composed-fields.ts'
import { type Field, fields, oneOf, optional, text, withDefault } from '../options/fields.ts'
import { integer } from '../options/quantities.ts'
import type { OptionsOf } from '../resilience/define-policy.ts'
import { CHANGEABLE, HEADER_VALUE } from './header-changes.ts'
import type { FixedAnswerSettings, PathRewrite, RedirectSettings, RewriteSettings } from './settings.ts'

const SEGMENT = `(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})`
const PREFIX = new RegExp(String.raw`^(?=/)(?:/(?!\.{1,2}(?:/|$))${SEGMENT}+)*/?$`)
const TEMPLATE = new RegExp(
  String.raw`^(?=/)(?:/(?!\.{1,2}(?:/|$))(?:${SEGMENT}|\{[A-Za-z_][A-Za-z0-9_]{0,63}\})+)*/?$`,
)

const prefix = fields({
  /** Replaces the prefix that the match names; `'/'` removes it. */
  prefix: text("a path such as '/v2', without query", PREFIX, 1_024),
})

const PATH: Field<PathRewrite, string | OptionsOf<typeof prefix>> = byKind({
  text: convert(
    text("a path such as '/v2/{id}', with names that the match binds, without query", TEMPLATE, 1_024),
    (template): PathRewrite => Object.freeze({ kind: 'template', template }),
  ),
  object: convert(prefix, (given): PathRewrite => Object.freeze({ kind: 'prefix', prefix: given.prefix })),
})

/** A host as in a URL, with a port or without. */
const HOST = /^(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)(?::\d{1,5})?$/
const HOST_ALONE = /^(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)$/

const rewrite = fields({
  /** The path that the service sees. The query stays. @defaultValue as written */
  path: optional(PATH),
  /** The host that the service sees. @defaultValue as written */
  host: optional(text("a host such as 'shop.example' or 'shop.example:8080'", HOST, 260)),
})
/** Changes the path or the host that the service sees. */
export interface RewriteOptions extends OptionsOf<typeof rewrite> {}

export const REWRITE: Field<RewriteSettings, RewriteOptions> = {
  ...rewrite,
  schema: { ...rewrite.schema, minProperties: 1 },
  parse(value, path, issues) {
    const before = issues.length
    const parsed = rewrite.parse(value, path, issues)
    if (issues.length === before && parsed.path === undefined && parsed.host === undefined) {
      issues.push({ path, message: 'is empty; expected at least one of path, host' })
    }
    return parsed
  },
}

const STATUSES = [301, 302, 303, 307, 308]
const redirect = fields({
  /** One of 301, 302, 303, 307, 308. @defaultValue 302 */
  status: withDefault(
    {
      ...integer({ min: 301, max: 308 }),
      schema: { enum: STATUSES, description: `one of ${STATUSES.join(', ')}` },
      parse(value, path, issues) {
        if (!STATUSES.includes(value as number)) {
          issues.push({ path, message: `expected one of ${STATUSES.join(', ')}, got ${String(value)}` })
        }
        return value as number
      },
    },
    302,
  ),
  /** @defaultValue as written */
  scheme: optional(oneOf(['http', 'https'])),
  /** @defaultValue as written */
  host: optional(text("a host such as 'shop.example', without port", HOST_ALONE, 253)),
  /** @defaultValue that of `scheme`, or as written */
  port: optional(integer({ min: 1, max: 65_535 })),
  /** @defaultValue as written */
  path: optional(PATH),
})
/** An answer that sends the caller to another URL. */
export interface RedirectOptions extends OptionsOf<typeof redirect> {}

export const REDIRECT: Field<RedirectSettings, RedirectOptions> = {
  ...redirect,
  parse(value, path, issues) {
    const before = issues.length
    const parsed = redirect.parse(value, path, issues)
    const { scheme, host, port } = parsed
    if (issues.length === before && [scheme, host, port, parsed.path].every((given) => given === undefined)) {
      issues.push({ path, message: 'leads to where it begins; expected at least one of scheme, host, port, path' })
    }
    return Object.freeze({ kind: 'redirect', ...parsed })
  },
}

/** RFC 9110, 15: answers that have no content. */
const WITHOUT_BODY: ReadonlySet<number> = new Set([204, 205, 304])

const respond = fields({
  /** @defaultValue 500 */
  status: optional(integer({ min: 200, max: 599 })),
  /** The status in gRPC, such as `'UNIMPLEMENTED'`. @defaultValue that to which `status` maps */
  grpcStatus: optional(oneOf(GRPC_STATUS_NAMES)),
  /** At most 2,048 characters; in gRPC the status's message. @defaultValue empty */
  body: optional(text('text of at most 2048 characters', /^[\s\S]*$/, 2_048)),
  /** @defaultValue none */
  headers: optional(entriesOf(CHANGEABLE, HEADER_VALUE, { max: 32 })),
})
/** A fixed answer, made in the caller's process. */
export interface FixedAnswerOptions extends OptionsOf<typeof respond> {}

export const RESPOND: Field<FixedAnswerSettings, FixedAnswerOptions> = {
  ...respond,
  schema: { ...respond.schema, anyOf: [{ required: ['status'] }, { required: ['grpcStatus'] }] },
  parse(value, path, issues) {
    const before = issues.length
    const { status, grpcStatus, body, headers } = respond.parse(value, path, issues)
    if (issues.length === before && status === undefined && grpcStatus === undefined) {
      issues.push({ path, message: 'is no answer: expected status, grpcStatus or both' })
    }
    if (issues.length === before && body !== undefined && WITHOUT_BODY.has(status ?? 500)) {
      issues.push({ path: [...path, 'body'], message: `has no place in an answer of status ${status}` })
    }
    const code = grpcStatus === undefined ? grpcStatusOfHttp(status ?? 500) : GRPC_STATUS[grpcStatus]
    return Object.freeze({
      kind: 'respond',
      status: status ?? 500,
      grpcStatus: code,
      body: body ?? '',
      headers: headers ?? NO_HEADERS,
    })
  },
}
const NO_HEADERS: FixedAnswerSettings['headers'] = Object.freeze([])
