/**
 * Heads of calls on the mux, in the form that grpc-js takes from HTTP/2 and gives to it. Reserved
 * ones are read or removed on the way.
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'
import { parseGrpcTimeout, parseTimeoutHeader } from '../../core/deadline.ts'
import { joinLines, withoutOuterSpace } from '../../core/field-value.ts'
import {
  GRPC_PREVIOUS_ATTEMPTS,
  GRPC_TIMEOUT,
  isReserved,
  OF_CONNECTIONS,
  PREVIOUS_ATTEMPTS,
  TIMEOUT,
  TOKEN,
} from '../../core/headers.ts'
import { OVERRIDE_PROOF, ROUTE_OVERRIDES } from '../../core/route-overrides.ts'
import { GrpcRequestHead, MALFORMED_TIMEOUT } from './headers.ts'

/** Returns a text if the head is malformed. */
export function readMuxHead(method: string, path: string, flat: readonly string[]): GrpcRequestHead | string {
  if (method !== 'POST') return 'A gRPC call is a POST.'
  const headers: IncomingHttpHeaders = Object.create(null)
  headers[':method'] = method
  headers[':path'] = path
  let timeout: number | undefined | 'malformed'
  let overrides: string | undefined
  let proof: string | undefined
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i]!
    const value = flat[i + 1]!
    switch (name) {
      case 'host':
        if (headers[':authority'] !== undefined) return 'A gRPC call has one host.'
        headers[':authority'] = value
        break
      case TIMEOUT:
        timeout = parseTimeoutHeader(value)
        break
      case GRPC_TIMEOUT:
        timeout = parseGrpcTimeout(value)
        break
      case PREVIOUS_ATTEMPTS:
        headers[GRPC_PREVIOUS_ATTEMPTS] = value
        break
      case ROUTE_OVERRIDES:
        overrides = joinLines(name, overrides, value)
        break
      case OVERRIDE_PROOF:
        proof = joinLines(name, proof, value)
        break
      case 'te':
      case 'accept-encoding':
      case 'grpc-accept-encoding':
        // grpc-js would check and copy them, only to remove them from the metadata.
        break
      default:
        if (!isReserved(name)) add(headers, name, value)
    }
    if (timeout === 'malformed') return MALFORMED_TIMEOUT
  }
  const head = new GrpcRequestHead(headers, timeout as number | undefined)
  head.overrides = overrides
  head.overrideProof = proof
  return head
}

/** As Node does for HTTP/2. */
function add(headers: IncomingHttpHeaders, name: string, value: string): void {
  const before = headers[name]
  if (name === 'set-cookie') headers[name] = before === undefined ? [value] : [...(before as string[]), value]
  else if (before === undefined) headers[name] = value
  else if (!OF_ONE_VALUE.has(name)) headers[name] = joinLines(name, before as string, value)
}

/** Those that handlers may see, of the ones that Node takes once. */
const OF_ONE_VALUE: ReadonlySet<string> = new Set([
  'age',
  'authorization',
  'content-length',
  'content-type',
  'date',
  'etag',
  'from',
  'if-modified-since',
  'last-modified',
  'max-forwards',
  'referer',
  'retry-after',
  'user-agent',
])

/** Names and values for the mux. @throws TypeError, RangeError for what HTTP/2 does not send */
export function flatHeaders(headers: OutgoingHttpHeaders): string[] {
  const flat: string[] = []
  let bytes = 0
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined || name.charCodeAt(0) === COLON || isDefault(name, value)) continue
    assertName(name)
    if (Array.isArray(value)) for (const each of value) bytes += push(flat, name, each)
    else bytes += push(flat, name, value)
  }
  if (bytes > MAX_HEADER_BYTES) {
    throw new RangeError(`${bytes} bytes of metadata; at most ${MAX_HEADER_BYTES} can be sent`)
  }
  return flat
}

const COLON = 0x3a

/** What a client of the mesh takes for granted, and grpc-js adds to each answer. */
function isDefault(name: string, value: unknown): boolean {
  return name === 'grpc-accept-encoding' || (name === 'grpc-encoding' && value === 'identity')
}

const FORBIDDEN: ReadonlySet<string> = new Set(OF_CONNECTIONS)
/** Overhead of each entry, as in HTTP/2 (RFC 9113, 6.5.2). */
const ENTRY_BYTES = 32
export const MAX_HEADER_BYTES = 60 * 1024

function push(flat: string[], name: string, value: unknown): number {
  const text = typeof value === 'string' ? withoutOuterSpace(value) : String(value)
  if (BAD_VALUE.test(text)) throw new TypeError(`the value of '${name}' cannot be sent in a header`)
  flat.push(name, text)
  return name.length + text.length + ENTRY_BYTES
}

const BAD_VALUE = /[^\t\x20-\x7e\x80-\xff]/

/** Names seen, all of which are valid. */
const known = new Set<string>()
const MOST_KNOWN = 1_000
const MAX_NAME = 255

function assertName(name: string): void {
  if (known.has(name)) return
  if (!TOKEN.test(name) || name.length > MAX_NAME || FORBIDDEN.has(name)) {
    throw new TypeError(`'${name}' is no name of metadata that can be sent`)
  }
  if (known.size < MOST_KNOWN) known.add(name)
}
