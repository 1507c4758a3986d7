/**
 * Maps statuses to outcomes. The origin of a status decides, as its stream saw it (stream.ts);
 * details are parsed only if grpc-js wrote them itself.
 */
import type * as grpc from '@grpc/grpc-js'
import type { ErrorCode } from '../../core/errors.ts'
import { GRPC_PUSHBACK, NOT_EXECUTED } from '../../core/headers.ts'
import { outcome as makeOutcome, type Outcome, SUCCESS } from '../../core/outcome.ts'
import { GRPC_STATUS, grpcOutcome, grpcStatusOfHttp, parsePushback } from '../../core/status.ts'
import { reasonOfRefusal, refusedByServer } from '../../net/identity-refusal.ts'
import { UNREADABLE } from './internals.ts'
import type { CarryingStream, StreamOwner } from './stream.ts'

/** The details of C core where the code is all that there is to say. */
const C_CORE_CANCELLED = 'CANCELLED'
const GRPC_TYPE = 'application/grpc'

/** As the protocol writes one; `Number` reads more. */
const STATUS = /^\d{1,9}$/
const KNOWN: ReadonlySet<number> = new Set(Object.values(GRPC_STATUS))

/** Knows why a call on its connection was not sent. `details`: those of the status. */
interface UnsentCause {
  failure(details: string): { readonly code: ErrorCode; readonly cause: Error }
}

/** What an attempt knows about its end besides the status. */
export interface StatusSource extends StreamOwner {
  /** Initial metadata; `undefined` if there is none or the answer is trailers only. */
  readonly headers: grpc.Metadata | undefined
  /** The answer of a unary method has arrived. */
  readonly answered: boolean
  readonly call: { readonly idempotent: boolean }
}

/**
 * The outcome of an attempt on `connection`. Corrects `status` where grpc-js lost the peer's own.
 */
export function outcomeOfStatus(status: grpc.StatusObject, connection: UnsentCause, source: StatusSource): Outcome {
  const { trailers, leaving, stream } = source
  if (isOfPeer(status, source)) return ofPeer(status, trailers?.['grpc-message'], source)
  // grpc-js has no code for a message with an undeclared compression.
  if (status.code === undefined) return makeOutcome('failure', 'protocol-error', new Error('a malformed message'))
  if (stream?.invalid !== undefined) return makeOutcome('cancelled', 'invalid-options', stream.invalid)
  if (!leaving) return ofUnsent(status, connection)
  // An unwatched stream may have been executed, so its status counts as the peer's.
  return stream === undefined ? ofPeer(status, undefined, source) : ofBroken(status, stream, source)
}

/** Whether `status` is the peer's own. */
function isOfPeer(status: grpc.StatusObject, { trailers, answered }: StatusSource): boolean {
  const said = trailers?.['grpc-status']
  if (said === undefined) return false
  // grpc-js reads an empty one as OK, and 0x0.
  const isMalformed = typeof said !== 'string' || !STATUS.test(said)
  if (isMalformed) status.code = Number.NaN
  if (isMalformed || Number(said) === status.code) return true
  // The answer is complete; a later break does not undo it.
  if (said !== '0' || !answered || UNREADABLE.test(status.details)) return false
  status.code = GRPC_STATUS.OK
  status.details = ''
  return true
}

function ofPeer(status: grpc.StatusObject, message: unknown, source: StatusSource): Outcome {
  if (status.code === GRPC_STATUS.OK) return source.stream?.endsWithin === true ? cutOff(status) : SUCCESS
  // gRPC reads an undefined code as UNKNOWN.
  if (!KNOWN.has(status.code)) status.code = GRPC_STATUS.UNKNOWN
  if (typeof message === 'string') status.details = decodeMessage(message)
  const { code, details, metadata } = status
  if (isCutShort(status, source)) return makeOutcome('failure', 'connection-lost', new Error(details))
  const { headers } = source
  // An answer that has begun proves an execution.
  const [marker] = headers === undefined ? metadata.get(NOT_EXECUTED) : []
  const marked = marker !== undefined
  const refusal = reasonOfRefusal(marker)
  if (refusal !== undefined) {
    status.code = GRPC_STATUS.UNAVAILABLE
    return makeOutcome('refused', 'identity-rejected', refusedByServer(refusal))
  }
  return grpcOutcome(code, marked, pushback(metadata), marked || details === '' ? undefined : new Error(details))
}

/** What is missing of the last message may be all that counts. */
function cutOff(status: grpc.StatusObject): Outcome {
  status.code = GRPC_STATUS.INTERNAL
  status.details = 'the answer ends within a message'
  return makeOutcome('failure', 'protocol-error', new Error(status.details))
}

/**
 * gRPC C core answers CANCELLED to what arrives between its shutdown and our receipt of its GOAWAY.
 * Its handlers can say the same, so the call may have been executed: it is repeated only where that
 * does no harm. The GOAWAY may come later than the answer, so an idempotent call does not wait for
 * it.
 */
export function isCutShort({ code, details }: grpc.StatusObject, source: StatusSource): boolean {
  const { headers, stream, trailers, call } = source
  if (code !== GRPC_STATUS.CANCELLED || headers !== undefined || trailers === undefined) return false
  return stream?.isLeft === true || (call.idempotent && details === C_CORE_CANCELLED)
}

/** The request was not sent. */
function ofUnsent({ details }: grpc.StatusObject, connection: UnsentCause): Outcome {
  const failure = connection.failure(details)
  return makeOutcome('refused', failure.code, failure.cause)
}

/** The stream ended without a gRPC status. */
function ofBroken(status: grpc.StatusObject, stream: CarryingStream, source: StatusSource): Outcome {
  const { httpStatus, trailers, headers } = source
  const { details } = status
  const type = headers?.get('content-type')[0] ?? trailers?.['content-type'] ?? GRPC_TYPE
  const isOther = httpStatus !== 0 && (httpStatus !== 200 || !String(type).startsWith(GRPC_TYPE))
  if (!isOther && UNREADABLE.test(details)) {
    const isTooLarge = status.code === GRPC_STATUS.RESOURCE_EXHAUSTED
    return makeOutcome('failure', isTooLarge ? 'response-too-large' : 'protocol-error', new Error(details))
  }
  if (isOther || (trailers !== undefined && trailers['grpc-status'] === undefined)) {
    status.code = grpcStatusOfHttp(httpStatus)
    const cause = new Error(`no status of gRPC, but HTTP ${httpStatus} with content type ${type}`)
    return status.code === GRPC_STATUS.UNAVAILABLE
      ? makeOutcome('failure', 'overloaded', cause, status.code, pushback(status.metadata))
      : makeOutcome('failure', 'protocol-error', cause)
  }
  return stream.broken(status, headers !== undefined)
}

/**
 * Decodes `grpc-message`. Invalid escapes stay as they are (PROTOCOL-HTTP2, "Percent-Encoded").
 */
function decodeMessage(message: string): string {
  return message.replace(/(?:%[0-9a-f]{2})+/gi, (encoded) => {
    try {
      return decodeURIComponent(encoded)
    } catch {
      return encoded
    }
  })
}

function pushback(metadata: grpc.Metadata): number | undefined {
  const values = metadata.get(GRPC_PUSHBACK)
  if (values.length === 0) return undefined
  return parsePushback(values.length === 1 ? String(values[0]) : '')
}
