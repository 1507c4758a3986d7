/**
 * Maps responses and undici's errors to outcomes. For a broken connection it decides whether the
 * request may have been executed.
 */
import type { Clock } from '../../core/clock.ts'
import { NOT_EXECUTED } from '../../core/headers.ts'
import { outcome as makeOutcome, type Outcome, repeatedAnswer, SUCCESS } from '../../core/outcome.ts'
import { httpOutcome, parseRetryAfter } from '../../core/status.ts'
import { type IdentityRefusal, reasonOfRefusal, refusedByServer } from '../../net/identity-refusal.ts'
import type { ClientCall } from '../call.ts'
import type { ReceivedHeaders } from './headers.ts'

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
  return code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED' || code === MISMATCH
}

/** The length of the body contradicts its header. */
const MISMATCH = 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH'

/**
 * The peer's TLS refused our certificate: its HTTP never saw the request (TLS 1.3 tells us only
 * after the handshake).
 */
const REFUSED_BY_TLS = /^ERR_SSL_.*_ALERT_((?:[A-Z]+_){0,3}CERTIFICATE(?:_[A-Z]+){0,3}|UNKNOWN_CA|ACCESS_DENIED)$/
const REASON_OF_ALERT: Readonly<Record<string, string>> = Object.freeze({
  CERTIFICATE_REQUIRED: 'no-certificate',
  CERTIFICATE_EXPIRED: 'expired',
  UNKNOWN_CA: 'untrusted-issuer',
})

/** `undefined` for every other error. */
export function refusedByAlert(error: Error): IdentityRefusal | undefined {
  const alert = REFUSED_BY_TLS.exec((error as NodeJS.ErrnoException).code ?? '')?.[1]
  if (alert === undefined) return undefined
  return refusedByServer(REASON_OF_ALERT[alert] ?? alert.toLowerCase().replaceAll('_', '-'))
}

/** The outcome of an attempt whose request was written. */
export function outcomeOf(error: Error): Outcome {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  const refusal = refusedByAlert(error)
  if (refusal !== undefined) return makeOutcome('refused', 'identity-rejected', refusal)
  // undici's parser errors come without their code; the end of the connection within a message is
  // one of them.
  const malformed = error.name === 'HTTPParserError' && !/\bEOF\b/.test(error.message)
  if (malformed || code === 'UND_ERR_HEADERS_OVERFLOW') return makeOutcome('failure', 'protocol-error', error)
  return makeOutcome('failure', 'connection-lost', error)
}
