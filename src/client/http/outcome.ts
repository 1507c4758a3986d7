/**
 * Maps responses and undici's errors to outcomes. For a broken connection it decides whether the
 * request may have been executed.
 */

import type { Clock } from '../../core/clock.ts'
import { isError } from '../../core/errors.ts'
import { NOT_EXECUTED } from '../../core/headers.ts'
import { outcome as makeOutcome, type Outcome, repeatedAnswer, SUCCESS } from '../../core/outcome.ts'
import { httpOutcome, parseRetryAfter } from '../../core/status.ts'
import { isUnsendable } from '../../mux/head-writer.ts'
import { RESET, type ResetCode } from '../../mux/wire.ts'
import { reasonOfRefusal, refusedByServer } from '../../net/identity-refusal.ts'
import type { ClientCall } from '../call.ts'
import { refusedByAlert } from '../certificate-alert.ts'
import { LostStream } from '../mux/lost-stream.ts'
import type { ReceivedHeaders } from './headers.ts'
import { MalformedAnswer } from './stream-exchange.ts'

export { isUnsendable } from '../../mux/head-writer.ts'

/** The outcome that the head of a response implies. Without a call, no other attempt follows. */
export function answerOutcome(status: number, headers: ReceivedHeaders, clock: Clock, call?: ClientCall): Outcome {
  const asked = headers['retry-after']
  const retryAfterMs = parseRetryAfter(typeof asked === 'string' ? asked : undefined, clock.wallNow())
  const refusal = reasonOfRefusal(headers[NOT_EXECUTED])
  if (refusal !== undefined) return makeOutcome('refused', 'identity-rejected', refusedByServer(refusal), status)
  const said = httpOutcome(status, headers[NOT_EXECUTED] !== undefined, retryAfterMs)
  if (said !== SUCCESS || call?.stack.retry.repeats(call, status) !== true) return said
  return repeatedAnswer(status, retryAfterMs)
}

/** Whether only the end of the connection ends the body. */
export function endsWithConnection(headers: ReceivedHeaders): boolean {
  return headers['content-length'] === undefined && headers['transfer-encoding'] === undefined
}

/** Whether a response is open-ended by its type. */
export function isEventStream(headers: ReceivedHeaders): boolean {
  const type = headers['content-type']
  return typeof type === 'string' && EVENT_STREAM.test(type)
}

const EVENT_STREAM = /^(?:text\/event-stream|multipart\/x-mixed-replace)\b/i

/** Whether the request was invalid. */
export function isInvalid(error: Error): boolean {
  const code = (error as NodeJS.ErrnoException).code
  if (isUnsendable(error)) return true
  return code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED' || code === MISMATCH
}

/** The length of the body contradicts its header. */
const MISMATCH = 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH'

/** Whether the connection was lost before a byte of the request had left. */
export function isUnsent(error: Error): boolean {
  return error instanceof LostStream && !error.executed && error.reset === undefined
}

/** The outcome of an attempt whose request was written. */
export function outcomeOf(error: Error): Outcome {
  if (error instanceof LostStream) return outcomeOfStream(error)
  const code = (error as NodeJS.ErrnoException).code ?? ''
  const refusal = refusedByAlert(error)
  if (refusal !== undefined) return makeOutcome('refused', 'identity-rejected', refusal)
  // undici's parser errors come without their code; the end of the connection within a message is
  // one of them.
  const malformed = error.name === 'HTTPParserError' && !/\bEOF\b/.test(error.message)
  if (malformed || code === 'UND_ERR_HEADERS_OVERFLOW' || error instanceof MalformedAnswer)
    return makeOutcome('failure', 'protocol-error', error)
  return makeOutcome('failure', 'connection-lost', error)
}

function outcomeOfStream(error: LostStream): Outcome {
  const { reset, executed, reason, leftBehind } = error
  const refusal = reasonOfRefusal(reason)
  if (refusal !== undefined) return makeOutcome('refused', 'identity-rejected', refusedByServer(refusal))
  if (isUnsent(error)) return makeOutcome('refused', 'connect-failed', error)
  // A peer that only takes no more calls on the connection says nothing about its load.
  if (!executed) return makeOutcome('refused', 'refused-by-peer', error, leftBehind ? undefined : 503)
  const alert = isError(error.cause) ? refusedByAlert(error.cause) : undefined
  if (alert !== undefined) return makeOutcome('refused', 'identity-rejected', alert)
  return makeOutcome(
    'failure',
    reset !== undefined && MALFORMED.has(reset) ? 'protocol-error' : 'connection-lost',
    error,
  )
}

/** NO_ERROR says that the answer is complete, and it is not. */
const MALFORMED: ReadonlySet<ResetCode> = new Set([RESET.NO_ERROR, RESET.PROTOCOL_ERROR, RESET.HEAD_TOO_LARGE])
