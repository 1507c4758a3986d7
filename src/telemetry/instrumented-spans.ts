/** Spans that instrumentations have made for the same thing, so that there is one. */
import type { Span, SpanContext, SpanKind } from '@opentelemetry/api'
import type { Call } from '../core/call.ts'
import type { TraceContext } from '../core/trace-context.ts'

type Api = typeof import('@opentelemetry/api')

/** What the SDK's spans have beside the API. */
type SdkSpan = Span & {
  readonly kind?: SpanKind
  readonly name?: string
  /** 2.x and later; before, `instrumentationLibrary`. */
  readonly instrumentationScope?: { readonly name: string }
  readonly instrumentationLibrary?: { readonly name: string }
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

/**
 * The span of a call: of a gRPC call, made by instrumentation-grpc around the method of the client;
 * of an HTTP call by `mesh.agent`, made by instrumentation-http around `http.request`.
 */
export function spanOfCall(api: Api, { kind }: Call): Span | undefined {
  if (kind.protocol !== 'grpc' && kind.protocol !== 'http') return undefined
  const active = activeOf(api, api.SpanKind.CLIENT)
  if (active === undefined || taken.has(active)) return undefined
  const isOfCall =
    kind.protocol === 'grpc'
      ? active.name === `grpc.${kind.method.replace('/', '')}`
      : (active.instrumentationScope ?? active.instrumentationLibrary)?.name === '@opentelemetry/instrumentation-http'
  if (!isOfCall) return undefined
  taken.add(active)
  return active
}

function activeOf(api: Api, kind: SpanKind): SdkSpan | undefined {
  const active = api.trace.getActiveSpan() as SdkSpan | undefined
  return active?.isRecording() && active.kind === kind ? active : undefined
}
