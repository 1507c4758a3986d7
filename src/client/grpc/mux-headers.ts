/**
 * The heads of calls on the mux. They are those of HTTP/2 without what only that needs; a deadline
 * of whole milliseconds and the number of attempts travel under HTTP's names, which are binary.
 */
import type { IncomingHttpHeaders } from 'node:http2'
import type * as grpc from '@grpc/grpc-js'
import { writeCarrier } from '../../core/carrier.ts'
import { formatGrpcTimeout, formatTimeoutHeader, LONGEST_DEADLINE_MS } from '../../core/deadline.ts'
import { withoutOuterSpace } from '../../core/field-value.ts'
import { REPLACING } from '../../core/flat-carrier.ts'
import {
  GRPC_PREVIOUS_ATTEMPTS,
  GRPC_TIMEOUT,
  isReserved,
  OF_CONNECTIONS,
  PREVIOUS_ATTEMPTS,
  TIMEOUT,
} from '../../core/headers.ts'
import type { CallHead } from './connection.ts'
import { valuesOf } from './internals.ts'

/** Below this, whole milliseconds would cut off too much. */
const FINE_MS = 100
const NEVER_SENT: ReadonlySet<string> = new Set([...OF_CONNECTIONS, 'content-type', 'user-agent'])

/** The head of a call in flat form. `service`: names the callee unless the call does. */
export function requestHeaders(head: CallHead, service: string, userAgent: string): string[] {
  const { metadata, attempt, authority, deadlineAt, now } = head
  const headers = ['host', authority ?? service, 'content-type', 'application/grpc', 'user-agent', userAgent]
  for (const [name, values] of valuesOf(metadata)) {
    if (!isOfUser(name)) continue
    for (const value of values) {
      headers.push(name, typeof value === 'string' ? withoutOuterSpace(value) : value.toString('base64'))
    }
  }
  if (attempt !== undefined) writeCarrier(REPLACING, headers, attempt, Number.POSITIVE_INFINITY, now)
  if (deadlineAt === Number.POSITIVE_INFINITY) return headers
  const leftMs = deadlineAt - now
  if (leftMs >= FINE_MS && leftMs < LONGEST_DEADLINE_MS) headers.push(TIMEOUT, formatTimeoutHeader(leftMs))
  else headers.push(GRPC_TIMEOUT, formatGrpcTimeout(leftMs))
  return headers
}

function isOfUser(name: string): boolean {
  if (name.charCodeAt(0) === COLON || isReserved(name) || NEVER_SENT.has(name)) return false
  return name !== GRPC_TIMEOUT && name !== GRPC_PREVIOUS_ATTEMPTS && name !== PREVIOUS_ATTEMPTS
}

const COLON = 0x3a

/** Headers of an answer as grpc-js's metadata. `skip`: names that are not the caller's. */
export function metadataOf(
  headers: readonly string[],
  Metadata: new () => grpc.Metadata,
  skip: (name: string) => boolean,
): grpc.Metadata {
  const metadata = new Metadata()
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    if (!skip(name)) addTo(metadata, name, headers[i + 1]!)
  }
  return metadata
}

/** As grpc-js does, one that is no metadata is left out. */
function addTo(metadata: grpc.Metadata, name: string, value: string): void {
  try {
    if (!name.endsWith('-bin')) metadata.add(name, value)
    else if (name.startsWith('grpc-')) metadata.add(name, Buffer.from(value, 'base64'))
    else for (const each of value.split(',')) metadata.add(name, Buffer.from(each.trim(), 'base64'))
  } catch {
    // Its name or value is not one of gRPC.
  }
}

/** The headers of an answer that decide how the call ended. */
export function decisive(headers: readonly string[]): IncomingHttpHeaders {
  let type: string | undefined
  let status: string | undefined
  let message: string | undefined
  for (let i = 0; i < headers.length; i += 2) {
    switch (headers[i]) {
      case 'content-type':
        type ??= headers[i + 1]
        break
      case GRPC_STATUS_NAME:
        status ??= headers[i + 1]
        break
      case GRPC_MESSAGE_NAME:
        message ??= headers[i + 1]
        break
    }
  }
  return { 'content-type': type, [GRPC_STATUS_NAME]: status, [GRPC_MESSAGE_NAME]: message }
}

const GRPC_STATUS_NAME = 'grpc-status'
const GRPC_MESSAGE_NAME = 'grpc-message'
const ENCODING = 'grpc-encoding'

/** The compression that a head names; `undefined`: it names none. */
export function encodingOf(headers: readonly string[]): string | undefined {
  for (let i = 0; i < headers.length; i += 2) if (headers[i] === ENCODING) return headers[i + 1]
  return undefined
}

/** Of the head of an answer. */
export function isOfCompression(name: string): boolean {
  return name === ENCODING || name === 'grpc-accept-encoding'
}

/** Of trailers. */
export function isOfStatus(name: string): boolean {
  return name === GRPC_STATUS_NAME || name === GRPC_MESSAGE_NAME
}
