/** Intentions as documents write them: who may call what of a service. */

import { HTTP_METHODS, type HttpMethod } from '../net/http-methods.ts'
import { exactly, fields, list, oneOf, optional, type Parsed, text } from '../options/fields.ts'
import { grpcMethod } from '../options/names.ts'

/**
 * Who may call what of a service. With `from` alone: every HTTP request and gRPC call. With
 * `methods` or `paths`: HTTP requests that match both, and no gRPC call unless `grpc` names it.
 * With `grpc` or `tcp` alone: those gRPC calls or TCP connections, and no HTTP request. A TCP
 * connection always needs `tcp`.
 */
export interface Intention {
  /** The calling service's exact name, or `*` for any service of the mesh. */
  readonly from: string
  /**
   * With `from: '*'`: also callers without an identity, which only a `permissive` or `plaintext`
   * port takes.
   */
  readonly unauthenticated?: true
  readonly methods?: readonly HttpMethod[]
  /**
   * `/exact`; a final `*` stands for any rest, at least one character; a `*` elsewhere for exactly
   * one segment.
   */
  readonly paths?: readonly string[]
  /** `pkg.Service/Method`, or `pkg.Service/*` for all its methods. */
  readonly grpc?: readonly string[]
  /** TCP connections (`mesh.listen`). No other rule allows them. */
  readonly tcp?: true
}

const FROM = /^(?:\*|[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)$/
const PATH = /^(?=\/)(?:\/(?!\.{1,2}(?:\/|$))(?:\*|(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%[0-9A-Fa-f]{2})+))*\/?$/

const INTENTION = fields({
  from: text("the name of a calling service, or '*' for any", FROM, 63),
  unauthenticated: optional(exactly(true)),
  methods: optional(list(oneOf(HTTP_METHODS), { min: 1, max: HTTP_METHODS.length })),
  paths: optional(
    list(
      text(
        "a path that begins with '/', such as '/items/42', '/items/*' (any rest) or '/items/*/stock' (any segment); '*' only as a whole segment, no query",
        PATH,
        1_024,
      ),
      { min: 1, max: 200 },
    ),
  ),
  grpc: optional(list(grpcMethod(), { min: 1, max: 200 })),
  tcp: optional(exactly(true)),
})

export const INTENTIONS = list(INTENTION, { max: 1_000 })

export function withoutGaps(given: Parsed<typeof INTENTION>): Intention {
  const { from, unauthenticated, methods, paths, grpc, tcp } = given
  return Object.freeze({
    from,
    ...(unauthenticated !== undefined && { unauthenticated }),
    ...(methods !== undefined && { methods }),
    ...(paths !== undefined && { paths }),
    ...(grpc !== undefined && { grpc }),
    ...(tcp !== undefined && { tcp }),
  })
}
