/** Spans that instrumentations have made for the same thing, so that there is one. */
import type { Span, SpanContext, SpanKind } from '@opentelemetry/api'
import type { Call } from '../core/call.ts'
import type { TraceContext } from '../core/trace-context.ts'

type Api = typeof import('@opentelemetry/api')

/** What the SDK's spans have beside the API. */
type SdkSpan = Span & {
  readonly kind?: SpanKind
  readonly name?: string
  readonly parentSpanContext?: SpanContext
}

/** Listeners of a call run below its span, and may make the same call again. */
const taken = new WeakSet<Span>()

/**
 * The span of a served request, made by instrumentation-http: a server's span, and the child of the
 * caller's.
 */
export function spanOfRequest(api: Api, caller: TraceContext | undefined): Span | undefined {
  const active = activeOf(api, api.SpanKind.SERVER)
  return active !== undefined && active.parentSpanContext?.spanId === caller?.spanId ? active : undefined
}

/** The span of a gRPC call, made by instrumentation-grpc around the method of the client. */
export function spanOfGrpcCall(api: Api, { kind }: Call): Span | undefined {
  if (kind.protocol !== 'grpc') return undefined
  const active = activeOf(api, api.SpanKind.CLIENT)
  if (active?.name !== `grpc.${kind.method.replace('/', '')}` || taken.has(active)) return undefined
  taken.add(active)
  return active
}

function activeOf(api: Api, kind: SpanKind): SdkSpan | undefined {
  const active = api.trace.getActiveSpan() as SdkSpan | undefined
  return active?.isRecording() && active.kind === kind ? active : undefined
}
