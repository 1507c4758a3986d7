/**
 * The condition of a route: of several all are needed. What it names decides which protocol it
 * concerns.
 */
import { HTTP_METHODS } from '../net/http-methods.ts'
import { byKind, convert, entriesOf, oneOrList } from '../options/composed-fields.ts'
import { type Field, fields, oneOf, optional, type Parsed, text } from '../options/fields.ts'
import { SERVICE_NAME } from '../options/names.ts'
import type { OptionsOf } from '../resilience/define-policy.ts'
import { HEADER_NAME } from './header-changes.ts'
import { oneKeyOf } from './one-key.ts'
import { PATH_PATTERN } from './path-pattern.ts'
import type { GrpcMatch, MatchSettings } from './settings.ts'
import { REGEX, VALUE_MATCH, type ValueMatch } from './value-match.ts'

/** Of a process whose metadata names none, as in Kubernetes. */
export const DEFAULT_NAMESPACE = 'default'

const GRPC = /^\/?(?:\*|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\/(?:\*|[A-Za-z_]\w*)$/

function grpcNames(written: string): GrpcMatch {
  const [service, method] = written.replace(/^\//, '').split('/') as [string, string]
  const name = (given: string) => (given === '*' ? undefined : given)
  return Object.freeze({ kind: 'names', service: name(service), method: name(method) })
}

const GRPC_MATCH = byKind({
  text: convert(
    text("a gRPC method such as 'shop.Inventory/Quote', or 'shop.Inventory/*' for all", GRPC, 512),
    grpcNames,
  ),
  object: convert(
    oneKeyOf({
      /** For the whole name, `shop.Inventory/Quote`, in RE2's syntax. */
      regex: optional(convert(REGEX, (source): GrpcMatch => Object.freeze({ kind: 'regex', source }))),
    }),
    (given) => given.regex!,
  ),
})

const QUERY_NAME = text('the name of a query parameter', /^\P{Cc}+$/u, 256)

const definition = fields({
  /**
   * The path: exact, with `{segment}` for one segment and a final `/*` for any rest; or `exact`,
   * `prefix` or `regex`. @defaultValue all
   */
  path: optional(PATH_PATTERN),
  /** The HTTP method, or several. `GET` does not stand for `HEAD`. @defaultValue all */
  method: optional(oneOrList(oneOf(HTTP_METHODS), { max: HTTP_METHODS.length })),
  /**
   * Headers, or metadata of gRPC, by name: the exact value, `'*'` for any, or `{ exact }` or
   * `{ regex }`. @defaultValue none
   */
  headers: optional(entriesOf(HEADER_NAME, VALUE_MATCH, { max: 32 })),
  /** The first value of query parameters, in the same forms. @defaultValue none */
  query: optional(entriesOf(QUERY_NAME, VALUE_MATCH, { max: 32 })),
  /**
   * The gRPC method: `shop.Inventory/Quote`, `shop.Inventory/*` or `regex`. @defaultValue all
   */
  grpc: optional(GRPC_MATCH),
  /** The calling service, or several. @defaultValue all */
  from: optional(oneOrList(text('the name of a calling service', SERVICE_NAME, 63), { max: 100 })),
  /**
   * The namespace of the calling process: `namespace` of its metadata, else `default`.
   * @defaultValue all
   */
  fromNamespace: optional(text('the name of a namespace', SERVICE_NAME, 63)),
})

/** A condition of a route. */
export interface MatchOptions extends OptionsOf<typeof definition> {}

const NONE: readonly (readonly [string, ValueMatch])[] = Object.freeze([])

function settings(given: Parsed<typeof definition>): MatchSettings {
  const { path, method, headers, query, grpc, from, fromNamespace } = given
  const http = path !== undefined || method !== undefined || query !== undefined
  return Object.freeze({
    methods: method,
    path,
    headers: headers ?? NONE,
    query: query ?? NONE,
    grpc,
    from,
    namespace: fromNamespace,
    protocol: grpc !== undefined ? 'grpc' : http ? 'http' : undefined,
  })
}

export const MATCH: Field<MatchSettings, MatchOptions> = convert(definition, settings)
