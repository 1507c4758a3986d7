/** One try of a call. Transports extend the class, so that an attempt costs one object. */
import type { Call } from './call.ts'
import type { Endpoint, InFlight } from './endpoint.ts'
import type { LoadReport } from './load-report.ts'
import type { TraceContext } from './trace-context.ts'
import type { TransportName } from './transport.ts'

/** The time in which a connection was being established. */
export interface Connecting {
  /** How much of it, in ms, an attempt has waited that began at `since`. */
  msSince(since: number): number
}

export class Attempt implements InFlight {
  readonly call: Call
  /** 0 for the first. Set by the execution. */
  number = 0
  /**
   * Start instant. The execution sets it before it asks policies; at 0 they read the clock
   * themselves.
   */
  startedAt = 0
  /**
   * End instant; for the first attempt, finally that of the call. The execution sets it before
   * policies settle; 0 as above.
   */
  endedAt = 0
  /** `undefined` on servers and for functions. */
  endpoint: Endpoint | undefined = undefined
  /** True from `begin` to `end`. */
  running = false
  /** A second attempt that runs beside a late one. Set by the execution. */
  hedge = false
  /** Bytes of the request may have reached the peer. Set by the transport. */
  sent = false
  /**
   * Its duration does not measure the peer: it is a stream, or the caller is still writing the
   * request. Set by the execution; for ordinary calls not before {@link begun}.
   */
  openEnded = false
  /** Its answer has begun and may last. Set by the execution. */
  begun = false
  /** When it got its connection; 0: it has none. Set by the transport, for observers. */
  connectedAt = 0
  /** How that connection was established. Set with `connectedAt`. */
  connecting: Connecting | undefined = undefined
  /**
   * Time in ms that the peer has waited for our side: for the caller's bytes, a reader or our event
   * loop. Kept by the transport.
   */
  ownMs = 0
  /**
   * Instant since which the peer waits for our side; 0 while we wait for the peer. Kept by the
   * transport.
   */
  ownSince = 0
  /** What carries it; `undefined` before it has a connection. Set by the transport. */
  transport: TransportName | undefined = undefined
  /** What the server said of its load with the answer. Set by the transport. */
  report: LoadReport | undefined = undefined
  /** HTTP or gRPC status of the answer; 0 if there is none. Set by the transport, for observers. */
  status = 0
  /**
   * Trace context that the transport sends; `undefined` sends the call's. Set by telemetry when it
   * records.
   */
  trace: TraceContext | undefined = undefined
  /**
   * The next younger and next older attempt in flight on the same endpoint, without open-ended
   * ones. Kept by the execution.
   */
  newer: InFlight | undefined = undefined
  older: InFlight | undefined = undefined
  /** Attempts in flight on the same limiter when this one started. Kept by concurrency limits. */
  inFlightAtStart = 0
  /** Telemetry's state, such as a span. No other code reads it. */
  observed: unknown = undefined

  constructor(call: Call) {
    this.call = call
  }

  /** Bytes of bodies or messages; `undefined`: unknown. Overridden by transports. */
  get bytesSent(): number | undefined {
    return undefined
  }

  /** The same. */
  get bytesReceived(): number | undefined {
    return undefined
  }
}

/** Time in ms that we have waited for the peer, without the time that the peer waited for us. */
export function waitedForPeerMs(attempt: Attempt, now: number): number {
  const waited = now - attempt.startedAt - attempt.ownMs
  return attempt.ownSince > 0 ? waited - (now - attempt.ownSince) : waited
}
