/**
 * From grpc-js's statuses to outcomes: what the peer said, and what grpc-js says in its place when a stream or a connection broke. grpc-js
 * tells the second kind by its text only, so each text is pinned by a test against the oldest and the newest version that we take.
 */
import type * as grpc from '@grpc/grpc-js'
import { GRPC_PUSHBACK, NOT_EXECUTED } from '../core/headers.ts'
import { outcome as makeOutcome, type Outcome, SUCCESS } from '../core/outcome.ts'
import { GRPC_STATUS, grpcOutcome, parsePushback } from '../core/status.ts'
import type { GrpcConnection } from './grpc-connection.ts'

/** The stream never came to be, or the peer's HTTP/2 says that it has not looked at it (REFUSED_STREAM, GOAWAY below it). */
const NOT_SENT =
  /^(?:No connection established|Failed to connect|Failed to start HTTP\/2 stream|Channel closed before call started|Name resolution failed|Connection closed before starting|Waiting for LB pick|.*: connect E)/
const REFUSED = 'Stream refused by server'
/** What else grpc-js says by itself: the stream or its connection broke after it had begun. */
const BROKEN =
  /^(?:Connection dropped|Call cancelled$|Received RST_STREAM with code|Write error: |read ECONNRESET|write E|The pending stream has been canceled|Keepalive timeout|Protocol not secure enough$)/
/** The caller's own credentials gave none, so nothing was sent. */
const NO_CREDENTIALS = /^(?:Getting metadata from plugin failed|"authorization" metadata cannot have multiple values)/
const MALFORMED =
  /^(?:Received message larger than max|No status information received|Received HTTP status code|Failed to decompress|Received message compressed with unsupported)/
const CALM_DOWN = 'Bandwidth exhausted or memory limit exceeded'

/** How an attempt on `connection` ended, after `headers` of an answer or without any. */
export function outcomeOfStatus(
  status: grpc.StatusObject,
  connection: GrpcConnection,
  headers: grpc.Metadata | undefined,
): Outcome {
  const { code, details, metadata } = status
  if (code === GRPC_STATUS.OK) return SUCCESS
  // grpc-js's status for a message that is compressed in no way it was told of.
  if (code === undefined) return makeOutcome('failure', 'protocol-error', new Error('a malformed message'))
  const marked = metadata.get(NOT_EXECUTED).length > 0
  if (marked) return grpcOutcome(code, true, pushback(metadata))
  if (isOwn(metadata)) {
    // Behind headers the same words are the peer's: a handler that passes on how its own call failed has been executed.
    if (headers === undefined) {
      if (code === GRPC_STATUS.UNAVAILABLE && details === REFUSED) {
        return makeOutcome('refused', 'refused-by-peer', new Error(details), code)
      }
      if (NOT_SENT.test(details) && (code === GRPC_STATUS.UNAVAILABLE || code === GRPC_STATUS.INTERNAL)) {
        const failure = connection.failure(details)
        return makeOutcome('refused', failure.code, failure.cause)
      }
      if (NO_CREDENTIALS.test(details)) return makeOutcome('cancelled', 'cancelled', new Error(details), code)
    }
    if (BROKEN.test(details)) return makeOutcome('failure', 'connection-lost', new Error(details))
    if (details === CALM_DOWN) return makeOutcome('failure', 'overloaded', new Error(details), code)
  }
  if (MALFORMED.test(details)) return malformed(code, details, metadata, headers)
  return grpcOutcome(code, false, pushback(metadata), details === '' ? undefined : new Error(details))
}

/** What grpc-js says by itself has no metadata, while trailers that are all of an answer have at least a content type. */
function isOwn(metadata: grpc.Metadata): boolean {
  for (const _ in metadata.getMap()) return false
  return true
}

function malformed(
  code: number,
  details: string,
  metadata: grpc.Metadata,
  headers: grpc.Metadata | undefined,
): Outcome {
  if (code === GRPC_STATUS.RESOURCE_EXHAUSTED) {
    // The first bytes of a page of HTML, read as the length of a message, are many.
    const type = headers?.get('content-type')[0]
    const isGrpc = type === undefined || String(type).startsWith('application/grpc')
    return makeOutcome('failure', isGrpc ? 'response-too-large' : 'protocol-error', new Error(details))
  }
  // Something that is no gRPC server answered; if it said that it is busy (429, 502, 503, 504), that is what grpc-js made of it.
  if (code === GRPC_STATUS.UNAVAILABLE) return grpcOutcome(code, false, pushback(metadata), new Error(details))
  return makeOutcome('failure', 'protocol-error', new Error(details))
}

function pushback(metadata: grpc.Metadata): number | undefined {
  const values = metadata.get(GRPC_PUSHBACK)
  if (values.length === 0) return undefined
  return parsePushback(values.length === 1 ? String(values[0]) : '')
}
