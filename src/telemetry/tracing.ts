/**
 * Records spans through the OpenTelemetry API if the application has registered an SDK. Unsampled
 * calls make no span: their trace context is propagated unchanged, since an unrecorded parent
 * breaks the trace.
 */
import { channel } from 'node:diagnostics_channel'
import type { Attributes, Context, Span, SpanContext, SpanKind, Tracer } from '@opentelemetry/api'
import type { Attempt } from '../core/attempt.ts'
import type { Call } from '../core/call.ts'
import type { Outcome } from '../core/outcome.ts'
import type { TraceContext } from '../core/trace-context.ts'
import { methodClass, type Side } from './call-metrics.ts'
import { errorType } from './error-type.ts'
import { spanOfCall, spanOfRequest } from './instrumented-spans.ts'
import * as names from './semantic-conventions.ts'
import {
  fromSpanContext,
  isSampled,
  retryAttributes,
  SAMPLED,
  setStatus,
  setTransport,
  spanName,
} from './span-values.ts'

export type TracingApi = typeof import('@opentelemetry/api')

/** How soon a late registration or removal of an SDK is noticed. */
const CHECK_MS = 100

/** The application's copy of the API; `undefined` if it has none. */
export async function loadTracingApi(): Promise<TracingApi | undefined> {
  try {
    const api = await import('@opentelemetry/api')
    // webpack makes an empty module of an external package that is missing.
    return typeof api.trace === 'object' ? api : undefined
  } catch {
    return undefined
  }
}

/** A call whose span is recorded. */
class Recorded {
  readonly span: Span
  /** The context in which the span is the active one. */
  readonly context: Context
  /** Made and ended by an instrumentation; we add what we know. */
  readonly isForeign: boolean
  /** The span of the last attempt. */
  attempt: Span | undefined = undefined

  constructor(span: Span, context: Context, isForeign = false) {
    this.span = span
    this.context = context
    this.isForeign = isForeign
  }
}

/** With the span of a recorded call as the active one. */
export function contextOf({ observed }: Call): Context | undefined {
  return observed instanceof Recorded ? observed.context : undefined
}

export class Tracing {
  readonly #api: TracingApi
  readonly #client: boolean
  readonly #noProvider: unknown
  readonly #suppressKey: symbol
  readonly #undiciRequests = channel('undici:request:create')
  #tracer: Tracer | undefined
  #hasContexts = false
  #checkedAt = Number.NEGATIVE_INFINITY

  constructor(api: TracingApi, side: Side) {
    this.#api = api
    this.#client = side === 'client'
    this.#noProvider = new api.ProxyTracerProvider().getDelegate()
    // The key of suppressTracing() in @opentelemetry/core; keys are made by Symbol.for, so all
    // copies agree.
    this.#suppressKey = api.createContextKey('OpenTelemetry SDK Context Key SUPPRESS_TRACING')
  }

  callStarted(call: Call): void {
    // A connection brings no trace and may last for days. Connecting has a span, in the caller.
    if (!this.#client && call.kind.protocol === 'tcp') return
    try {
      const tracer = this.#tracerAt(call.startedAt)
      const parent =
        tracer === undefined ? undefined : this.#client ? this.#clientParent(call) : this.#serverParent(call)
      if (tracer === undefined || parent === undefined) {
        call.trace ??= call.parent?.trace
        return
      }
      const foreign = this.#client ? spanOfCall(this.#api, call) : spanOfRequest(this.#api, call.trace)
      if (foreign !== undefined) {
        foreign.setAttributes(this.#callAttributes(call, true))
        call.trace = fromSpanContext(foreign.spanContext())
        call.observed = new Recorded(foreign, parent, true)
        return
      }
      const span = tracer.startSpan(
        spanName(call),
        { kind: this.#kind(call), attributes: this.#callAttributes(call) },
        parent,
      )
      const own = span.spanContext()
      // An invalid context: the application suppresses tracing here.
      call.trace = this.#api.isSpanContextValid(own) ? fromSpanContext(own) : (call.trace ?? call.parent?.trace)
      if (span.isRecording()) call.observed = new Recorded(span, this.#api.trace.setSpan(parent, span))
    } catch {
      // Samplers and processors are application code; their errors must not fail a call.
      call.trace ??= call.parent?.trace
    }
  }

  callRouted(call: Call): void {
    const recorded = call.observed
    if (!(recorded instanceof Recorded)) return
    try {
      recorded.span.setAttributes(this.#callAttributes(call, recorded.isForeign))
    } catch {
      // As above.
    }
  }

  /** A server's call is its only attempt, so it has no second span. */
  attemptStarted(attempt: Attempt): void {
    const recorded = attempt.call.observed
    if (!this.#client || !(recorded instanceof Recorded) || attempt.call.kind.protocol === 'function') return
    try {
      const attributes = this.#attemptAttributes(attempt)
      const late = attempt.hedge ? recorded.attempt?.spanContext() : undefined
      const links = late === undefined ? [] : [{ context: late }]
      const options = { kind: this.#api.SpanKind.CLIENT, attributes, links }
      const span = this.#tracer?.startSpan(spanName(attempt.call), options, recorded.context)
      if (span === undefined) return
      attempt.observed = span
      recorded.attempt = span
      attempt.trace = fromSpanContext(span.spanContext())
    } catch {
      // As above.
    }
  }

  /** `waitMs` >= 0: another attempt follows after it. */
  attemptEnded(attempt: Attempt, outcome: Outcome, waitMs: number): void {
    const recorded = attempt.call.observed
    if (!(recorded instanceof Recorded)) return
    try {
      const status = attempt.status || outcome.status
      if (!recorded.isForeign || !this.#client) setStatus(recorded.span, attempt.call, status)
      if (!this.#client) setTransport(recorded.span, attempt)
      if (waitMs >= 0) recorded.span.addEvent(names.RETRY_EVENT, retryAttributes(attempt, outcome, waitMs))
      const span = attempt.observed as Span | undefined
      if (span === undefined) return
      setTransport(span, attempt)
      attempt.observed = undefined
      setStatus(span, attempt.call, status)
      this.#end(span, attempt.call, outcome, status)
    } catch {
      // As above.
    }
  }

  callEnded(call: Call, outcome: Outcome): void {
    const recorded = call.observed
    if (!(recorded instanceof Recorded)) return
    try {
      const { span, isForeign } = recorded
      if (isForeign && !span.isRecording()) return
      if (call.attempts > 1) span.setAttribute(names.HTTP_REQUEST_RESEND_COUNT, call.attempts - 1)
      // A refused call had no attempt to record it.
      if (!isForeign || !this.#client) setStatus(span, call, outcome.status)
      if (isForeign) this.#endForeign(span, outcome)
      else this.#end(span, call, outcome, outcome.status)
    } catch {
      // As above.
    }
  }

  /** A child of the span of `of`, the call that it copies. */
  mirrorStarted(mirror: Attempt, of: Call): void {
    const recorded = of.observed
    if (!(recorded instanceof Recorded)) return
    try {
      const attributes = { ...this.#attemptAttributes(mirror), [names.MIRROR]: true }
      const options = { kind: this.#api.SpanKind.CLIENT, attributes }
      const span = this.#tracer?.startSpan(spanName(mirror.call), options, recorded.context)
      if (span === undefined) return
      mirror.observed = span
      mirror.trace = fromSpanContext(span.spanContext())
    } catch {
      // As above.
    }
  }

  mirrorEnded(mirror: Attempt, outcome: Outcome): void {
    const span = mirror.observed as Span | undefined
    mirror.observed = undefined
    if (span === undefined) return
    try {
      const status = mirror.status || outcome.status
      setStatus(span, mirror.call, status)
      setTransport(span, mirror)
      this.#end(span, mirror.call, outcome, status)
    } catch {
      // As above.
    }
  }

  /** Runs `work` with the call's span active, if it has one. */
  within<T>(call: Call, work: () => T): T {
    const recorded = call.observed
    if (!(recorded instanceof Recorded) || !this.#hasContexts) return work()
    return this.#with(() => recorded.context, work)
  }

  /**
   * Runs `dispatch` with tracing suppressed. An instrumentation of undici would make a duplicate
   * span and add a second `traceparent`, which invalidates both.
   */
  suppressed<T>(dispatch: () => T): T {
    if (!this.#undiciRequests.hasSubscribers || !this.#hasContexts) return dispatch()
    return this.#with(() => this.#api.context.active().setValue(this.#suppressKey, true), dispatch)
  }

  /** A context manager is application code, too: `work` runs once, whatever that one throws. */
  #with<T>(context: () => Context, work: () => T): T {
    let ran: { readonly value: T } | undefined
    let thrown: { readonly error: unknown } | undefined
    try {
      this.#api.context.with(context(), () => {
        try {
          ran = { value: work() }
        } catch (error) {
          thrown = { error }
        }
      })
    } catch {
      // As above.
    }
    if (thrown !== undefined) throw thrown.error
    return ran === undefined ? work() : ran.value
  }

  /** `undefined` while no SDK is registered. */
  #tracerAt(now: number): Tracer | undefined {
    if (now - this.#checkedAt < CHECK_MS) return this.#tracer
    this.#checkedAt = now
    const { context, ProxyTracerProvider, ROOT_CONTEXT, trace } = this.#api
    const provider = trace.getTracerProvider()
    const registered = !(provider instanceof ProxyTracerProvider) || provider.getDelegate() !== this.#noProvider
    this.#tracer = registered ? trace.getTracer('inmesh') : undefined
    const probe = ROOT_CONTEXT.setValue(this.#suppressKey, true)
    this.#hasContexts = context.with(probe, () => context.active() === probe)
    return this.#tracer
  }

  /**
   * The application's active span, else that of the inbound call; `undefined` if its trace is not
   * sampled.
   */
  #clientParent(call: Call): Context | undefined {
    const { context, trace } = this.#api
    const active = trace.getActiveSpan()
    if (active !== undefined) {
      const own = active.spanContext()
      if (this.#api.isSpanContextValid(own)) {
        if (active.isRecording() || isSampled(own)) return context.active()
        call.trace = fromSpanContext(own)
        return undefined
      }
    }
    const inbound = call.parent
    if (inbound?.observed instanceof Recorded) return inbound.observed.context
    return this.#remote(inbound?.trace)
  }

  /** The caller's span, or a child of it made by an instrumentation of node:http. */
  #serverParent(call: Call): Context | undefined {
    const active = this.#api.trace.getActiveSpan()
    if (active?.isRecording() && (call.trace === undefined || call.trace.traceId === active.spanContext().traceId)) {
      return this.#api.context.active()
    }
    return this.#remote(call.trace)
  }

  #remote(parent: TraceContext | undefined): Context | undefined {
    const { context, createTraceState, trace } = this.#api
    if (parent === undefined) return context.active()
    if (!parent.sampled) return undefined
    const { traceId, spanId, state } = parent
    const remote: SpanContext = { traceId, spanId, traceFlags: SAMPLED, isRemote: true }
    if (state !== undefined) remote.traceState = createTraceState(state)
    return trace.setSpanContext(context.active(), remote)
  }

  #kind(call: Call): SpanKind {
    const { SpanKind } = this.#api
    if (call.kind.protocol === 'function') return SpanKind.INTERNAL
    return this.#client ? SpanKind.CLIENT : SpanKind.SERVER
  }

  #callAttributes(call: Call, isForeign = false): Attributes {
    const attributes: Attributes = {}
    const { method, protocol, service } = call.kind
    if (protocol === 'http') attributes[names.HTTP_REQUEST_METHOD] = methodClass(call)
    // instrumentation-grpc has them by older conventions.
    if (protocol === 'grpc' && !isForeign) {
      attributes[names.RPC_SYSTEM_NAME] = 'grpc'
      attributes[names.RPC_METHOD] = names.rpcMethod(method)
    }
    if (call.routed !== undefined && call.routed.name !== '') attributes[names.ROUTE] = call.routed.name
    const peer = this.#client ? service : call.peer
    if (protocol !== 'function' && peer !== undefined) attributes[names.SERVICE_PEER_NAME] = peer
    return attributes
  }

  #attemptAttributes(attempt: Attempt): Attributes {
    const attributes = this.#callAttributes(attempt.call)
    if (attempt.endpoint !== undefined) {
      attributes[names.SERVER_ADDRESS] = attempt.endpoint.address
      attributes[names.SERVER_PORT] = attempt.endpoint.port
    }
    if (attempt.number > 0) attributes[names.HTTP_REQUEST_RESEND_COUNT] = attempt.number
    if (attempt.hedge) attributes[names.HEDGE] = true
    return attributes
  }

  /** Its instrumentation sets the status that the answer has, and ends it. */
  #endForeign(span: Span, outcome: Outcome): void {
    if (outcome.verdict !== 'success' && outcome.status === undefined) {
      span.setAttribute(names.ERROR_TYPE, outcome.code ?? outcome.verdict)
    }
  }

  /** A cancelled call is no error: our side no longer needed it. */
  #end(span: Span, call: Call, outcome: Outcome, status: number | undefined): void {
    if (outcome.verdict !== 'success') {
      span.setAttribute(names.ERROR_TYPE, errorType(call, outcome, status))
      if (outcome.verdict !== 'cancelled') span.setStatus({ code: this.#api.SpanStatusCode.ERROR })
    }
    span.end()
  }
}
