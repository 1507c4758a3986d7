/**
 * The headers of a gRPC call before anybody else sees them: what only neighbours in the mesh may
 * say is taken out, the deadline is read exactly (grpc-js reads `-1S` as a second and `1.5S` as
 * five), and what was found is handed on.
 */
import type { IncomingHttpHeaders } from 'node:http2'
import { parseBaggage } from '../../core/baggage.ts'
import { parseGrpcTimeout } from '../../core/deadline.ts'
import { claimsIdentity, GRPC_PREVIOUS_ATTEMPTS, GRPC_TIMEOUT, PREFIX } from '../../core/headers.ts'
import { parseTraceparent, type TraceContext } from '../../core/trace-context.ts'

export interface GrpcHead {
  timeoutMs: number | undefined
  readonly trace: TraceContext | undefined
  readonly baggage: ReadonlyMap<string, string> | undefined
  readonly previousAttempts: number
}

/**
 * A text says why the head is malformed. Changes `headers`, of which `raw` are the names and values
 * as they came.
 */
export function readGrpcHead(headers: IncomingHttpHeaders, raw: readonly string[]): GrpcHead | string {
  // An intermediary may store the answer to a GET, or send it twice (PROTOCOL-HTTP2: Method is
  // POST).
  if (headers[':method'] !== 'POST') return 'A gRPC call is a POST.'
  const { host } = headers
  // RFC 9113, 8.3.1: whoever read the other one would read another request.
  if (host !== undefined && host !== headers[':authority']) return 'The headers host and :authority differ.'
  const timeoutMs = parseGrpcTimeout(first(headers[GRPC_TIMEOUT]))
  if (timeoutMs === 'malformed') {
    return 'The header grpc-timeout is no timeout: 1 to 8 digits and one of H, M, S, m, u, n.'
  }
  // grpc-js would start a timer of its own.
  if (timeoutMs !== undefined) delete headers[GRPC_TIMEOUT]
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!
    if ((name.charCodeAt(0) === 0x69 && name.startsWith(PREFIX)) || claimsIdentity(name)) delete headers[name]
  }
  // What grpc-js would check, copy and then take out of the metadata itself.
  for (let i = 0; i < OF_THE_TRANSPORT.length; i++) delete headers[OF_THE_TRANSPORT[i]!]
  const { traceparent, tracestate, baggage } = headers
  const attempts = first(headers[GRPC_PREVIOUS_ATTEMPTS])
  return {
    timeoutMs,
    trace: traceparent === undefined ? undefined : parseTraceparent(first(traceparent), first(tracestate)),
    baggage: baggage === undefined ? undefined : parseBaggage(first(baggage)),
    previousAttempts: attempts !== undefined && /^\d{1,3}$/.test(attempts) ? Number(attempts) : 0,
  }
}

const OF_THE_TRANSPORT = ['te', 'accept-encoding', 'grpc-accept-encoding'] as const

function first(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(',') : value
}
