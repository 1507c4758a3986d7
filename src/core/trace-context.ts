/**
 * W3C Trace Context (https://www.w3.org/TR/trace-context/): who we are in a trace, read from and written to headers
 * without the OpenTelemetry API, whose propagators cost a hundred times more than the text they produce.
 */
export interface TraceContext {
  /** 32 lower-case hex digits, not all zero. */
  readonly traceId: string
  /** 16 lower-case hex digits, not all zero. */
  readonly spanId: string
  readonly sampled: boolean
  /** `tracestate` as received. */
  readonly state: string | undefined
}

// No captures: slicing what is known to be there costs less.
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?$/
/** `version-traceId-spanId-flags`; later versions may have more behind it. */
const LENGTH = 55
const NO_TRACE = '0'.repeat(32)
const NO_SPAN = '0'.repeat(16)
const MAX_TRACESTATE = 512

/** `undefined` for anything that is not a valid `traceparent`; then a new trace starts, as the standard says. */
export function parseTraceparent(header: string | undefined, state?: string): TraceContext | undefined {
  if (header === undefined) return undefined
  if (!TRACEPARENT.test(header)) return undefined
  const version = header.slice(0, 2)
  if (version === 'ff' || (version === '00' && header.length !== LENGTH)) return undefined
  const traceId = header.slice(3, 35)
  const spanId = header.slice(36, 52)
  if (traceId === NO_TRACE || spanId === NO_SPAN) return undefined
  return {
    traceId,
    spanId,
    sampled: (Number.parseInt(header.slice(53, 55), 16) & 1) === 1,
    state: state !== undefined && state.length <= MAX_TRACESTATE ? state : undefined,
  }
}

export function formatTraceparent(trace: TraceContext): string {
  return `00-${trace.traceId}-${trace.spanId}-${trace.sampled ? '01' : '00'}`
}
