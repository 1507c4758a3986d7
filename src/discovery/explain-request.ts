/** The request that people ask about, checked: in code, and in the registry's API. */
import { parseBaggage } from '../core/baggage.ts'
import { BAGGAGE } from '../core/carrier.ts'
import { withoutOuterSpace } from '../core/field-value.ts'
import { CONNECT } from '../core/protocol.ts'
import type { RequestHead } from '../core/request-head.ts'
import { parseRouteOverrides, ROUTE_OVERRIDES } from '../core/route-overrides.ts'
import {
  check,
  fields,
  type Given,
  OptionsError,
  oneOf,
  optional,
  type Parsed,
  record,
  text,
} from '../options/fields.ts'
import { grpcMethod, SERVICE_NAME, serviceName } from '../options/names.ts'
import type { ExplainedRequest } from './explain.ts'
import { MESH_DOCUMENT } from './policy-document.ts'

const LONGEST_PATH = 8_192

const definition = fields({
  /** The called service. */
  service: serviceName(),
  /** The HTTP method. @defaultValue `'GET'` */
  method: optional(text("an HTTP method such as 'GET'", /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/, 32)),
  /** The path with its query. @defaultValue `'/'` */
  path: optional(text("a path that begins with '/', with or without a query", /^\/[^\s#]*$/, LONGEST_PATH)),
  /** Headers, or metadata of gRPC, by name. @defaultValue none */
  headers: optional(record({ maxEntries: 100, maxLength: LONGEST_PATH })),
  /** Instead of `method` and `path`: `'shop.Inventory/Quote'`. @defaultValue none */
  grpc: optional(grpcMethod()),
  /**
   * `'grpc'` needs `grpc`; `'tcp'` is a connection of `mesh.connect`. @defaultValue `'grpc'` with
   * `grpc`, otherwise `'http'`
   */
  protocol: optional(oneOf(['http', 'grpc', 'tcp'])),
})

/** A request to explain. */
export interface ExplainOptions extends Given<typeof definition> {}

const WITH_CALLER = fields({
  ...definition.shape,
  /** The calling service. @defaultValue not known: no condition on it holds */
  from: optional(serviceName()),
  /** The namespace of the calling process. @defaultValue `'default'` */
  fromNamespace: optional(text('the name of a namespace', SERVICE_NAME, 63)),
})

/** @throws OptionsError naming each wrong field */
export function checkExplainOptions(
  given: unknown,
  from: string,
  namespace: string | undefined,
  what: string,
): ExplainedRequest {
  return { ...toRequest(check(definition, given, what), from, what), ...(namespace !== undefined && { namespace }) }
}

/** The same with the caller in it. @throws OptionsError naming each wrong field */
export function checkExplainRequest(given: unknown, what: string): ExplainedRequest {
  const { from, fromNamespace, ...options } = check(WITH_CALLER, given, what)
  const request = toRequest(options, from, what)
  return fromNamespace === undefined ? request : { ...request, namespace: fromNamespace }
}

function toRequest(given: Parsed<typeof definition>, from: string | undefined, what: string): ExplainedRequest {
  const { service, method, path, headers, grpc, protocol = grpc === undefined ? 'http' : 'grpc' } = given
  const mistake = (key: string, message: string) => new OptionsError(what, [{ path: [key], message }])
  if (service === MESH_DOCUMENT) throw mistake('service', `expected the name of a service; '${service}' is reserved`)
  if (protocol === 'grpc' && grpc === undefined) {
    throw mistake('grpc', "is missing; expected a gRPC method such as 'shop.Inventory/Quote'")
  }
  if (grpc !== undefined) {
    if (protocol !== 'grpc') throw mistake('protocol', `is '${protocol}', which 'grpc' contradicts; leave one out`)
    if (grpc.endsWith('/*'))
      throw mistake('grpc', "expected one method such as 'shop.Inventory/Quote', got all of a service")
    const extra = method !== undefined ? 'method' : path !== undefined ? 'path' : undefined
    if (extra !== undefined) throw mistake(extra, "is of HTTP requests, and 'grpc' is given; leave one out")
  }
  if (protocol === 'tcp') {
    for (const [key, value] of Object.entries({ method, path, headers })) {
      if (value !== undefined) throw mistake(key, "is of HTTP requests, and 'protocol' is 'tcp'; leave one out")
    }
  }
  const lower = new Map(
    Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), withoutOuterSpace(value)]),
  )
  const head: RequestHead = {
    method: protocol === 'tcp' ? CONNECT : grpc === undefined ? (method ?? 'GET') : `/${grpc}`,
    path: grpc === undefined ? (path ?? '/') : `/${grpc}`,
    header: (name) => lower.get(name),
  }
  const text = lower.get(ROUTE_OVERRIDES)
  const targets = text === undefined ? undefined : parseRouteOverrides(text)
  if (typeof targets === 'string')
    throw new OptionsError(what, [{ path: ['headers', ROUTE_OVERRIDES], message: targets }])
  const overrides = targets && { targets, origin: from }
  return { service, from, protocol, head, baggage: parseBaggage(lower.get(BAGGAGE)), overrides }
}
