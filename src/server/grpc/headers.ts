/**
 * Validates the headers of a gRPC call and removes the reserved ones before grpc-js sees them. The
 * timeout is parsed here, because grpc-js reads `-1S` as 1 s and `1.5S` as 5 s.
 */
import type { IncomingHttpHeaders } from 'node:http2'
import { type CarrierGetter, GRPC_FORMAT, type Inherited, readCarrier } from '../../core/carrier.ts'
import { parseGrpcTimeout } from '../../core/deadline.ts'
import { GRPC_TIMEOUT, isReserved } from '../../core/headers.ts'
import { OVERRIDE_PROOF, ROUTE_OVERRIDES } from '../../core/route-overrides.ts'
import type { RequestHead } from '../authorization/authorizer.ts'

/** A valid head. */
export class GrpcRequestHead implements RequestHead {
  readonly headers: IncomingHttpHeaders
  timeoutMs: number | undefined
  overrides: string | undefined = undefined
  overrideProof: string | undefined = undefined

  constructor(headers: IncomingHttpHeaders, timeoutMs: number | undefined) {
    this.headers = headers
    this.timeoutMs = timeoutMs
  }

  get method(): string {
    return 'POST'
  }

  get path(): string {
    return this.headers[':path'] ?? ''
  }

  get target(): string {
    return this.path
  }
}

/**
 * Returns a text if the head is malformed. Removes from `headers`, of which `raw` holds the names
 * and values as received.
 */
export function readGrpcHead(headers: IncomingHttpHeaders, raw: readonly string[]): GrpcRequestHead | string {
  // An intermediary may cache or repeat a GET (PROTOCOL-HTTP2: Method is POST).
  if (headers[':method'] !== 'POST') return 'A gRPC call is a POST.'
  const { host } = headers
  // RFC 9113, 8.3.1: two parsers could take it for two different requests.
  if (host !== undefined && host !== headers[':authority']) return 'The headers host and :authority differ.'
  const timeoutMs = parseGrpcTimeout(joined(headers[GRPC_TIMEOUT]))
  if (timeoutMs === 'malformed') return MALFORMED_TIMEOUT
  // grpc-js would start a second timer.
  if (timeoutMs !== undefined) delete headers[GRPC_TIMEOUT]
  const head = new GrpcRequestHead(headers, timeoutMs)
  if (headers[ROUTE_OVERRIDES] !== undefined) takeOverrides(head, headers)
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!
    if (isReserved(name)) delete headers[name]
  }
  // grpc-js would check and copy them, only to remove them from the metadata.
  for (let i = 0; i < OF_THE_TRANSPORT.length; i++) delete headers[OF_THE_TRANSPORT[i]!]
  return head
}

export const MALFORMED_TIMEOUT = 'The header grpc-timeout is no timeout: 1 to 8 digits and one of H, M, S, m, u, n.'

function takeOverrides(head: GrpcRequestHead, headers: IncomingHttpHeaders): void {
  head.overrides = joined(headers[ROUTE_OVERRIDES])
  head.overrideProof = joined(headers[OVERRIDE_PROOF])
  delete headers[ROUTE_OVERRIDES]
}

const OF_THE_TRANSPORT = ['te', 'accept-encoding', 'grpc-accept-encoding'] as const

const OBJECT: CarrierGetter<IncomingHttpHeaders> = {
  format: GRPC_FORMAT,
  get: (headers, name) => joined(headers[name]),
}

/** Reads what the caller propagated from checked headers. */
export function readContext(call: Inherited, headers: IncomingHttpHeaders): void {
  readCarrier(OBJECT, headers, call)
}

function joined(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(',') : value
}
