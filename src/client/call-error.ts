/**
 * Turns the outcome that decided a call into the error that its caller sees. Nothing deeper in the
 * stack creates errors.
 */
import { type ErrorCode, MeshError, messageOf } from '../core/errors.ts'
import type { Outcome } from '../core/outcome.ts'
import type { Protocol } from '../core/protocol.ts'
import { grpcStatusName } from '../core/status.ts'
import { retryAfterMs } from '../resilience/policy-list.ts'
import type { ClientCall } from './call.ts'

const WHY: Partial<Record<ErrorCode, string>> = {
  'no-endpoints': 'no instance of this service is registered and ready',
  'circuit-open': 'its circuit breaker is open',
  'concurrency-limited': 'too many calls are running',
  'rate-limited': 'the rate limit is used up',
  'global-rate-limited': 'the rate limit of the whole service is used up',
  throttled: 'it is overloaded and the call was held back',
  'queue-full': 'too many attempts wait for a connection',
  'deadline-exceeded': 'the deadline passed',
  'attempt-timeout': 'the attempt took too long',
  cancelled: 'the call was cancelled',
  'connect-failed': 'no connection could be made',
  'identity-rejected': 'the identity was rejected',
  'connection-lost': 'the connection was lost',
  'protocol-error': 'the answer was malformed',
  'refused-by-peer': 'it refused to execute the call',
  'permission-denied': 'no intention of the service allows the call',
  'response-too-large': 'the answer is larger than allowed',
  overloaded: 'it is overloaded',
  'server-error': 'it failed',
  closed: 'the mesh is closed',
  'join-refused': 'this process is not in the mesh',
  'registry-unavailable': 'this process is not in the mesh',
}

/**
 * The error for a call that ended with `outcome`. Names what was called, why it failed, how often
 * it was tried and whether the peer may have acted on it.
 */
export function callError(call: ClientCall, outcome: Outcome, now: number): MeshError {
  const { service, method, protocol } = call.kind
  const code = outcome.code ?? 'connection-lost'
  const elapsedMs = Math.round((now - call.startedAt) * 10) / 10
  const endpoint = call.attempts > 0 ? call.endpoint?.label : undefined
  const at = endpoint === undefined ? '' : ` at ${endpoint}`
  const tries = call.attempts > 1 ? ` after ${call.attempts} attempts` : ''
  const status = outcome.status === undefined ? '' : ` (status ${statusText(protocol, outcome.status)})`
  const said = messageOf(outcome.cause)?.replace(/(?<!\.)\.$/, '')
  const detail = said === undefined || said === '' ? '' : `: ${said}`
  const unpaid = call.unpaid ? '; not tried again: the retry budget is used up' : ''
  const route = call.routed?.name || undefined
  const by = route === undefined ? '' : ` (route '${route}')`
  const message = `${method} to '${service}'${by}${at} failed${tries} in ${elapsedMs} ms: ${why(call, code)}${status}${detail}${unpaid}`
  return new MeshError(message, {
    code,
    service,
    method,
    route,
    endpoint,
    attempts: call.reports,
    elapsedMs,
    sent: call.sent,
    retryAfterMs: retryAfter(call, outcome),
    cause: outcome.cause,
  })
}

/** What the peer asked for, or what refuses here. A negative wish of a gRPC peer is none. */
function retryAfter({ stack }: ClientCall, { verdict, retryAfterMs: asked }: Outcome): number | undefined {
  if (asked !== undefined) return asked > 0 ? asked : undefined
  return verdict === 'refused' ? retryAfterMs(stack.service) : undefined
}

function why(call: ClientCall, code: ErrorCode): string {
  const { cluster } = call.stack
  const absence = cluster?.endpoints.length === 0 ? cluster.absence : undefined
  if (code === 'deadline-exceeded' && call.attempts === 0 && cluster?.endpoints.length === 0) {
    const place = placeOf(call)
    return absence === undefined
      ? `the deadline passed before any instance of ${place} was known; is the name right?`
      : `the deadline passed before any instance of ${place} was known: ${absence}`
  }
  const target = call.routed?.target?.key
  if (code === 'no-endpoints' && target) return `no instance of its target '${target}' is registered and ready`
  return (code === 'no-endpoints' ? absence : undefined) ?? WHY[code] ?? code
}

/** Where it looked for endpoints. */
function placeOf({ kind, routed }: ClientCall): string {
  const target = routed?.target?.key
  return target ? `the target '${target}' of '${kind.service}'` : `'${kind.service}'`
}

/** gRPC's by name. A gRPC call may also have ended with the HTTP status of a proxy: a number. */
function statusText(protocol: Protocol, status: number): string | number {
  return protocol === 'grpc' ? grpcStatusName(status) : status
}
