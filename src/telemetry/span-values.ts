/** What spans are named and marked with, and how their contexts become ours. */
import type { Attributes, Span, SpanContext } from '@opentelemetry/api'
import type { Attempt } from '../core/attempt.ts'
import type { Call } from '../core/call.ts'
import type { Outcome } from '../core/outcome.ts'
import { grpcStatusName } from '../core/status.ts'
import type { TraceContext } from '../core/trace-context.ts'
import { methodClass, OTHER_METHOD } from './call-metrics.ts'
import { errorType } from './error-type.ts'
import { networkProtocol } from './network-protocol.ts'
import * as names from './semantic-conventions.ts'

export const SAMPLED = 1

export function retryAttributes(attempt: Attempt, outcome: Outcome, waitMs: number): Attributes {
  const status = attempt.status || outcome.status
  return {
    [names.HTTP_REQUEST_RESEND_COUNT]: attempt.number + 1,
    [names.RETRY_DELAY]: waitMs / 1_000,
    [names.ERROR_TYPE]: errorType(attempt.call, outcome, status),
  }
}

export function setTransport(span: Span, { transport }: Attempt): void {
  const { name, version } = networkProtocol(transport)
  if (name === undefined) return
  span.setAttribute(names.NETWORK_PROTOCOL_NAME, name)
  if (version !== undefined) span.setAttribute(names.NETWORK_PROTOCOL_VERSION, version)
}

export function isSampled(context: SpanContext): boolean {
  return (context.traceFlags & SAMPLED) === SAMPLED
}

export function fromSpanContext(context: SpanContext): TraceContext {
  return {
    traceId: context.traceId,
    spanId: context.spanId,
    sampled: isSampled(context),
    state: context.traceState?.serialize(),
  }
}

/** Of unknown methods what the conventions require: `HTTP`, or the system of the RPC. */
export function spanName(call: Call): string {
  const isGrpc = call.kind.protocol === 'grpc'
  const method = methodClass(call)
  if (method === OTHER_METHOD) return isGrpc ? 'grpc' : 'HTTP'
  return isGrpc ? names.rpcMethod(method) : method
}

export function setStatus(span: Span, call: Call, status: number | undefined): void {
  if (status === undefined) return
  if (call.kind.protocol === 'grpc') span.setAttribute(names.RPC_STATUS_CODE, grpcStatusName(status))
  else span.setAttribute(names.HTTP_RESPONSE_STATUS_CODE, status)
}
