/** One try of a call. Transports extend it, so that an attempt costs one object. */
import type { Call } from './call.ts'
import type { Endpoint, InFlight } from './endpoint.ts'
import type { TraceContext } from './trace-context.ts'

export class Attempt implements InFlight {
  readonly call: Call
  /** 0 is the first. Set by the execution. */
  number = 0
  /**
   * When it was started. Set by the execution before policies are asked; 0 = they read the clock
   * themselves.
   */
  startedAt = 0
  /**
   * When it ended; for a call's first attempt, finally the end of the call. Set by the execution
   * before policies settle it; 0 = as above.
   */
  endedAt = 0
  /** `undefined` on servers and for functions. */
  endpoint: Endpoint | undefined = undefined
  /** True from `begin` to `end`. */
  running = false
  /** A second attempt beside one that is late. Set by the execution. */
  hedge = false
  /** Bytes of the request may have reached the peer. Set by the transport. */
  sent = false
  /**
   * Its duration says nothing about the peer's latency: a stream, or a request that the caller
   * still writes. Set by the execution, for ordinary calls not before {@link begun}.
   */
  openEnded = false
  /** Its response has begun and may stay open. Set by the execution. */
  begun = false
  /**
   * How long in ms the peer has waited for our side: for the caller's bytes, for a reader, for our
   * event loop. Kept by the transport.
   */
  ownMs = 0
  /** Since when the peer waits for our side; 0 = we wait for the peer. Kept by the transport. */
  ownSince = 0
  /** HTTP or gRPC status of the answer, 0 = none. Set by the transport, for observers. */
  status = 0
  /**
   * Sent as `traceparent`; `undefined`: the call's trace is sent. Set by the telemetry, if it
   * records.
   */
  trace: TraceContext | undefined = undefined
  /**
   * Next younger and next older attempt in flight on the same endpoint, open-ended ones left out;
   * kept by the execution.
   */
  newer: InFlight | undefined = undefined
  older: InFlight | undefined = undefined
  /** Attempts in flight on the same limiter when this one started; kept by concurrency limits. */
  inFlightAtStart = 0
  /** Observers' own (a span); set by the telemetry, read by it only. */
  observed: unknown = undefined

  constructor(call: Call) {
    this.call = call
  }
}

/** How many ms we have waited for the peer, without the time that the peer waited for us. */
export function waitedForPeerMs(attempt: Attempt, now: number): number {
  const waited = now - attempt.startedAt - attempt.ownMs
  return attempt.ownSince > 0 ? waited - (now - attempt.ownSince) : waited
}
