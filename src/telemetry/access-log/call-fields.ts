/**
 * The attributes of one call, by the names of the OpenTelemetry semantic conventions where they
 * have one, else `inmesh.*`. A line has at most 16 KiB.
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Call } from '../../core/call.ts'
import type { CallDetails } from '../../core/call-details.ts'
import type { Outcome } from '../../core/outcome.ts'
import { grpcStatusName } from '../../core/status.ts'
import { methodClass, OTHER_METHOD, type Side } from '../call-metrics.ts'
import { errorType } from '../error-type.ts'
import { networkProtocol } from '../network-protocol.ts'
import { REDACTED } from '../redact.ts'
import * as names from '../semantic-conventions.ts'
import type { AccessLogFields } from './line-writer.ts'
import { flagOf } from './reason-flags.ts'
import { safeText } from './safe-text.ts'
import type { LoggedHeader } from './settings.ts'

/** Why a call has a line. */
export type Logged = 'failure' | 'cancelled' | 'slow' | 'sample'

/** One call that is over, or a copy of one. */
export interface EndedCall {
  readonly side: Side
  /** Our own. */
  readonly service: string
  readonly call: Call
  readonly outcome: Outcome
  /** The attempt that ended it; `undefined`: none did. */
  readonly decisive: Attempt | undefined
  readonly endedAt: number
  readonly logged: Logged
}

type Fields = { -readonly [K in keyof AccessLogFields]: AccessLogFields[K] }

const LONGEST_PATH = 1_024
const LONGEST_HEADER = 128
const LONGEST_NAME = 256

export function callFields(ended: EndedCall, headers: readonly LoggedHeader[]): AccessLogFields {
  const { side, service, call, outcome, decisive, logged } = ended
  const details = call.details(decisive)
  const fields: Fields = { 'inmesh.side': side, [names.SERVICE_NAME]: service, 'inmesh.protocol': call.kind.protocol }
  addRequest(fields, call, outcome, details)
  const peer = side === 'client' ? call.kind.service : call.peer
  if (peer !== undefined) fields[names.SERVICE_PEER_NAME] = safeText(peer, LONGEST_NAME)
  if (call.routed !== undefined && call.routed.name !== '') fields[names.ROUTE] = call.routed.name
  if (side === 'client') addAttempts(fields, call, decisive)
  else if (details.peerAddress !== undefined) fields[names.NETWORK_PEER_ADDRESS] = details.peerAddress
  if (call.previousAttempts > 0) fields['inmesh.previous_attempts'] = call.previousAttempts
  addTimes(fields, ended)
  if (details.bytesSent !== undefined) fields['inmesh.bytes_sent'] = details.bytesSent
  if (details.bytesReceived !== undefined) fields['inmesh.bytes_received'] = details.bytesReceived
  const { name, version } = networkProtocol(details.transport)
  if (name !== undefined) fields[names.NETWORK_PROTOCOL_NAME] = name
  if (version !== undefined) fields[names.NETWORK_PROTOCOL_VERSION] = version
  if (call.mirror) fields[names.MIRROR] = true
  fields['inmesh.logged'] = logged
  addFailure(fields, call, outcome, details.status)
  for (const header of headers) addHeader(fields, call, header)
  if (call.trace !== undefined) {
    // The names that OpenTelemetry's instrumentation of pino adds.
    fields.trace_id = call.trace.traceId
    fields.span_id = call.trace.spanId
    fields.trace_flags = call.trace.sampled ? '01' : '00'
  }
  return fields
}

function addRequest(fields: Fields, call: Call, outcome: Outcome, details: CallDetails): void {
  const { protocol, method } = call.kind
  if (protocol === 'grpc') {
    fields[names.RPC_SYSTEM_NAME] = 'grpc'
    fields[names.RPC_METHOD] = safeText(names.rpcMethod(method), LONGEST_NAME)
    const status = details.status ?? (outcome.verdict === 'success' ? 0 : outcome.status)
    if (status !== undefined) fields[names.RPC_STATUS_CODE] = grpcStatusName(status)
    return
  }
  if (protocol !== 'http') return
  const known = methodClass(call)
  fields[names.HTTP_REQUEST_METHOD] = known
  if (known === OTHER_METHOD) fields[names.HTTP_REQUEST_METHOD_ORIGINAL] = safeText(method, LONGEST_NAME)
  if (details.path !== undefined) fields[names.URL_PATH] = safeText(details.path, LONGEST_PATH)
  const status = details.status ?? outcome.status
  if (status !== undefined) fields[names.HTTP_RESPONSE_STATUS_CODE] = status
}

function addAttempts(fields: Fields, call: Call, decisive: Attempt | undefined): void {
  fields['inmesh.attempts'] = call.attempts
  // A mirror is no attempt of its call.
  if (call.mirror && call.attempts === 0 && decisive !== undefined) fields['inmesh.attempts'] = 1
  const hedged = decisive?.hedge === true || (call.hedged && call.attempts > 1)
  if (hedged) fields['inmesh.hedged'] = true
  const endpoint = decisive?.endpoint ?? call.endpoint
  if (endpoint === undefined) return
  fields[names.SERVER_ADDRESS] = endpoint.address
  fields[names.SERVER_PORT] = endpoint.port
}

function addTimes(fields: Fields, { side, call, decisive, endedAt }: EndedCall): void {
  fields['inmesh.duration_ms'] = rounded(endedAt - call.startedAt)
  if (side === 'server' || decisive === undefined || decisive.connectedAt === 0) return
  const { startedAt, connectedAt, connecting } = decisive
  const connectMs = connecting?.msSince(startedAt) ?? 0
  fields['inmesh.queue_ms'] = rounded(connectedAt - startedAt - connectMs)
  fields['inmesh.connect_ms'] = rounded(connectMs)
}

function addFailure(fields: Fields, call: Call, outcome: Outcome, shown: number | undefined): void {
  const { verdict, code, status } = outcome
  if (verdict === 'success') return
  fields[names.ERROR_TYPE] = errorType(call, outcome, status ?? shown)
  if (code === undefined) return
  fields['inmesh.code'] = code
  const flag = flagOf(code)
  if (flag !== undefined) fields['inmesh.flag'] = flag
}

function addHeader(fields: Fields, call: Call, { name, secret }: LoggedHeader): void {
  const value = headerOf(call, name)
  if (value === undefined) return
  const prefix = call.kind.protocol === 'grpc' ? names.RPC_REQUEST_METADATA : names.HTTP_REQUEST_HEADER
  fields[`${prefix}.${name}`] = [secret ? REDACTED : safeText(value, LONGEST_HEADER)]
}

/** Metadata may have been given in a form that cannot be read as text. */
function headerOf(call: Call, name: string): string | undefined {
  try {
    return call.header(name)
  } catch {
    return undefined
  }
}

/** In ms to the µs. */
function rounded(ms: number): number {
  return Math.max(0, Math.round(ms * 1_000) / 1_000)
}
