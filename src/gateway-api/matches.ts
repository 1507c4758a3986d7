/**
 * The conditions of rules, of both kinds of routes. In a manifest each condition says how it
 * compares: `Exact`, `PathPrefix` or `RegularExpression`.
 */
import {
  type AnyField,
  type Field,
  field,
  fields,
  type Issue,
  list,
  oneOf,
  optional,
  type Parsed,
  type Path,
} from '../options/fields.ts'
import { headerName, nonEmpty, tokenName } from './names.ts'

/** Of one kind, in one match. */
const MOST_CONDITIONS = 16
export const MOST_MATCHES = 64
/** Of all rules of a route together. */
export const MOST_MATCHES_OF_ROUTE = 128

const VALUE_TYPES = ['Exact', 'RegularExpression'] as const
const PATH_TYPES = ['Exact', 'PathPrefix', 'RegularExpression'] as const
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'] as const

const PATH_CHARACTERS = /^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$/

const HEADER_MATCH = fields({
  type: optional(oneOf(VALUE_TYPES)),
  name: headerName(),
  value: nonEmpty('the value of the header', 4_096),
})

const QUERY_MATCH = fields({
  type: optional(oneOf(VALUE_TYPES)),
  name: tokenName(),
  value: nonEmpty('the value of the parameter', 1_024),
})

const anyText = (max: number): Field<string> =>
  field(`text of at most ${max} characters`, { type: 'string', maxLength: max }, (value) =>
    typeof value === 'string' && value.length <= max ? value : undefined,
  )

const PATH_MATCH = fields({ type: optional(oneOf(PATH_TYPES)), value: optional(anyText(1_024)) })

const HTTP_PARTS = fields({
  path: optional(PATH_MATCH),
  headers: optional(list(HEADER_MATCH, { max: MOST_CONDITIONS })),
  queryParams: optional(list(QUERY_MATCH, { max: MOST_CONDITIONS })),
  method: optional(oneOf(METHODS)),
})

const METHOD_MATCH = fields({
  type: optional(oneOf(VALUE_TYPES)),
  service: optional(anyText(1_024)),
  method: optional(anyText(1_024)),
})

const GRPC_PARTS = fields({
  method: optional(METHOD_MATCH),
  headers: optional(list(HEADER_MATCH, { max: MOST_CONDITIONS })),
})

// Named, or the declarations of all routes repeat their parts.
export interface HttpMatch extends Parsed<typeof HTTP_PARTS> {}
export interface GrpcMatch extends Parsed<typeof GRPC_PARTS> {}
export const HTTP_MATCH: AnyField<HttpMatch> = HTTP_PARTS
export const GRPC_MATCH: AnyField<GrpcMatch> = GRPC_PARTS
type ValueMatch = Parsed<typeof HEADER_MATCH>

/** What a path match means, with the defaults filled in; a prefix without its final `/`. */
export interface PathCondition {
  readonly type: (typeof PATH_TYPES)[number]
  readonly value: string
}

export function pathOf({ path }: HttpMatch): PathCondition {
  const { type = 'PathPrefix', value = '/' } = path ?? {}
  return { type, value: type === 'PathPrefix' ? withoutFinalSlash(value) : value }
}

/** `/` for the root. */
export function withoutFinalSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
}

/** Of equivalent names only the first counts. */
export function firstOfEach(
  matches: readonly ValueMatch[] | undefined,
  equivalent: (name: string) => string,
): readonly ValueMatch[] {
  const first = new Map<string, ValueMatch>()
  for (const match of matches ?? []) {
    const name = equivalent(match.name)
    if (!first.has(name)) first.set(name, match)
  }
  return [...first.values()]
}

export function checkHttpMatch({ path, method }: HttpMatch, at: Path, issues: Issue[]): void {
  if (method === 'CONNECT') {
    issues.push({ path: [...at, 'method'], message: 'CONNECT opens a tunnel, which no service of the mesh answers' })
  }
  if (path?.value === undefined || path.type === 'RegularExpression') return
  const mistake = mistakeOfPath(path.value)
  if (mistake !== undefined) issues.push({ path: [...at, 'path', 'value'], message: mistake })
}

/** `undefined`: a valid path to compare with. */
export function mistakeOfPath(path: string): string | undefined {
  if (!path.startsWith('/')) return "expected a path that begins with '/'"
  for (const part of ['//', '/./', '/../', '%2f', '%2F', '#', '?']) {
    if (path.includes(part)) return `must not contain '${part}'`
  }
  if (path.endsWith('/.') || path.endsWith('/..')) return "must not end with a '.' or '..' as a segment"
  if (!PATH_CHARACTERS.test(path)) return "has characters that no path has; encode them, such as '%20' for a space"
  return undefined
}

const GRPC_SERVICE = /^\.?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*$/
const GRPC_METHOD = /^[A-Za-z_]\w*$/

export function checkGrpcMatch({ method }: GrpcMatch, at: Path, issues: Issue[]): void {
  if (method === undefined) return
  const { type = 'Exact', service = '', method: name = '' } = method
  const path = [...at, 'method']
  if (service === '' && name === '') {
    issues.push({ path, message: "has neither 'service' nor 'method'; leave it out to match every call" })
    return
  }
  if (type !== 'Exact') return
  if (service !== '' && !GRPC_SERVICE.test(service)) {
    issues.push({
      path: [...path, 'service'],
      message: "expected the name of a gRPC service, such as 'shop.Inventory'",
    })
  }
  if (name !== '' && !GRPC_METHOD.test(name)) {
    issues.push({ path: [...path, 'method'], message: "expected the name of a gRPC method, such as 'Quote'" })
  }
}
