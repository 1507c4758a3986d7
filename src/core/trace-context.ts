/**
 * Parses and formats W3C Trace Context (https://www.w3.org/TR/trace-context/). OpenTelemetry's
 * propagators cost a hundred times more than this.
 */
export interface TraceContext {
  /** 32 lower-case hex digits, not all zero. */
  readonly traceId: string
  /** 16 lower-case hex digits, not all zero. */
  readonly spanId: string
  readonly sampled: boolean
  /** `tracestate` as received. */
  readonly state: string | undefined
  /** `traceparent` as received, if the parts above make the same. */
  readonly text?: string | undefined
}

/** `version-traceId-spanId-flags`. */
const LENGTH = 55
const DASH = 0x2d
const ZERO = 0x30
const NO_TRACE = '0'.repeat(32)
const NO_SPAN = '0'.repeat(16)
const BEHIND = /^.{55}-.*$/
/** Headers hold bytes only; an index beyond reads as 0. */
const IS_HEX = new Uint8Array(256)
for (const digit of '0123456789abcdef') IS_HEX[digit.charCodeAt(0)] = 1
const MAX_TRACESTATE = 512

/** `undefined` for an invalid `traceparent`; then a new trace starts, as the standard says. */
export function parseTraceparent(header: string | undefined, state?: string): TraceContext | undefined {
  if (header === undefined || !isWellFormed(header)) return undefined
  return {
    traceId: header.slice(3, 35),
    spanId: header.slice(36, 52),
    sampled: isOdd(header.charCodeAt(54)),
    state: state !== undefined && state.length <= MAX_TRACESTATE ? state : undefined,
    text: isCanonical(header) ? header : undefined,
  }
}

/** Whether a well-formed header has our version, and no flags that we do not know. */
function isCanonical(header: string): boolean {
  if (header.length !== LENGTH || header.charCodeAt(1) !== ZERO || header.charCodeAt(0) !== ZERO) return false
  return header.charCodeAt(53) === ZERO && (header.charCodeAt(54) === ZERO || header.charCodeAt(54) === ZERO + 1)
}

/** By table, because an expression takes twice as long and every served request pays for it. */
function isWellFormed(header: string): boolean {
  if (header.length < LENGTH || header.charCodeAt(2) !== DASH) return false
  if (header.charCodeAt(35) !== DASH || header.charCodeAt(52) !== DASH) return false
  let hex = IS_HEX[header.charCodeAt(0)]! & IS_HEX[header.charCodeAt(1)]!
  for (let i = 3; i < 35; i++) hex &= IS_HEX[header.charCodeAt(i)]!
  for (let i = 36; i < 52; i++) hex &= IS_HEX[header.charCodeAt(i)]!
  hex &= IS_HEX[header.charCodeAt(53)]! & IS_HEX[header.charCodeAt(54)]!
  if (hex !== 1 || header.startsWith(NO_TRACE, 3) || header.startsWith(NO_SPAN, 36)) return false
  if (header.startsWith('ff')) return false
  // Later versions may append fields.
  return header.length === LENGTH || (!header.startsWith('00') && BEHIND.test(header))
}

/** `code` is the character of a hexadecimal digit. */
function isOdd(code: number): boolean {
  return (code & 1) === (code <= 0x39 ? 1 : 0)
}

export function formatTraceparent(trace: TraceContext): string {
  return trace.text ?? `00-${trace.traceId}-${trace.spanId}-${trace.sampled ? '01' : '00'}`
}
