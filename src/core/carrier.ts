/**
 * Sends a call's trace, baggage, remaining time, earlier attempts and its mark as a mirror to the
 * next process. HTTP and gRPC share one writer and one reader; adapters access their headers.
 */
import type { Attempt } from './attempt.ts'
import { formatBaggage, parseBaggage } from './baggage.ts'
import { formatGrpcTimeout, formatTimeoutHeader } from './deadline.ts'
import { GRPC_PREVIOUS_ATTEMPTS, GRPC_TIMEOUT, MIRROR, PREVIOUS_ATTEMPTS, TIMEOUT } from './headers.ts'
import { OVERRIDE_PROOF, ROUTE_OVERRIDES, type RouteOverrides } from './route-overrides.ts'
import { formatTraceparent, parseTraceparent, type TraceContext } from './trace-context.ts'

/** The end-to-end keys. A user may set these headers for a call that inherits no such context. */
export const TRACEPARENT = 'traceparent'
export const TRACESTATE = 'tracestate'
export const BAGGAGE = 'baggage'

/**
 * Whether a header (name in lower case) is an end-to-end key, so that a user's value may be there.
 */
export function isPropagated(name: string): boolean {
  switch (name.length) {
    case 11:
      return name === TRACEPARENT
    case 10:
      return name === TRACESTATE
    case 7:
      return name === BAGGAGE
    case 15:
      return name === MIRROR
    case 14:
      return name === ROUTE_OVERRIDES
    default:
      return false
  }
}

/** How one protocol names and formats the keys that only two neighbours exchange. */
export interface Format {
  readonly timeout: string
  readonly previousAttempts: string
  formatTimeout(remainingMs: number): string
}

export const HTTP_FORMAT: Format = Object.freeze({
  timeout: TIMEOUT,
  previousAttempts: PREVIOUS_ATTEMPTS,
  formatTimeout: formatTimeoutHeader,
})

export const GRPC_FORMAT: Format = Object.freeze({
  timeout: GRPC_TIMEOUT,
  previousAttempts: GRPC_PREVIOUS_ATTEMPTS,
  formatTimeout: formatGrpcTimeout,
})

/** Writes to one form of headers `H`. */
export interface CarrierSetter<H> {
  readonly format: Format
  /** Adds a header that `headers` cannot have yet. */
  add(headers: H, name: string, value: string): void
  /** Replaces all values of a header. */
  set(headers: H, name: string, value: string): void
  remove(headers: H, name: string): void
}

/** Reads from one form of headers `H`; repeated lines are joined by commas. */
export interface CarrierGetter<H> {
  readonly format: Format
  get(headers: H, name: string): string | undefined
}

/** What a call takes over from its caller. */
export interface Inherited {
  trace: TraceContext | undefined
  baggage: ReadonlyMap<string, string> | undefined
  previousAttempts: number
  mirror: boolean
}

/**
 * Writes the context of an attempt over the caller's headers, from which the keys of `format` have
 * been removed. `deadlineAt`: `Infinity` = none is sent.
 */
export function writeCarrier<H>(
  setter: CarrierSetter<H>,
  headers: H,
  attempt: Attempt,
  deadlineAt: number,
  now: number,
): void {
  const { call } = attempt
  const { format } = setter
  if (deadlineAt !== Number.POSITIVE_INFINITY) {
    setter.add(headers, format.timeout, format.formatTimeout(deadlineAt - now))
  }
  const trace = attempt.trace ?? call.trace
  if (trace !== undefined) {
    setter.set(headers, TRACEPARENT, formatTraceparent(trace))
    // A state belongs to its trace.
    if (trace.state === undefined) setter.remove(headers, TRACESTATE)
    else setter.set(headers, TRACESTATE, trace.state)
  }
  if (call.baggage !== undefined) {
    const baggage = formatBaggage(call.baggage)
    if (baggage !== undefined) setter.set(headers, BAGGAGE, baggage)
  }
  if (call.mirror) setter.set(headers, MIRROR, '1')
  if (call.overrides !== undefined) writeOverrides(setter, headers, call.overrides)
  if (attempt.number > 0) setter.add(headers, format.previousAttempts, String(attempt.number))
}

function writeOverrides<H>(setter: CarrierSetter<H>, headers: H, { text, proof }: RouteOverrides): void {
  setter.set(headers, ROUTE_OVERRIDES, text)
  if (proof !== undefined) setter.add(headers, OVERRIDE_PROOF, proof)
}

/**
 * Reads what the caller propagated into `call`. A malformed value counts as absent, so that none of
 * it fails the call. The timeout is read before, by the check of the head.
 */
export function readCarrier<H>(getter: CarrierGetter<H>, headers: H, call: Inherited): void {
  const traceparent = getter.get(headers, TRACEPARENT)
  if (traceparent !== undefined) call.trace = parseTraceparent(traceparent, getter.get(headers, TRACESTATE))
  const baggage = getter.get(headers, BAGGAGE)
  if (baggage !== undefined) call.baggage = parseBaggage(baggage)
  const attempts = getter.get(headers, getter.format.previousAttempts)
  if (attempts !== undefined && /^\d{1,3}$/.test(attempts)) call.previousAttempts = Number(attempts)
  if (getter.get(headers, MIRROR) === '1') call.mirror = true
}
