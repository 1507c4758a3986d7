/**
 * Forwards the execution's notifications to metrics and tracing by direct calls. The hot path
 * iterates over observers only if the user has added some.
 */
import type { Attempt } from '../core/attempt.ts'
import type { Call } from '../core/call.ts'
import type { Clock } from '../core/clock.ts'
import type { Outcome } from '../core/outcome.ts'
import type { MirrorTelemetry, Telemetry } from '../core/telemetry.ts'
import { FINAL } from '../resilience/retry.ts'
import type { LoggedCalls } from './access-log/access-log.ts'
import { ATTEMPT_ENDED, ATTEMPT_STARTED, CALL_ENDED, CallChannels } from './call-channels.ts'
import { CallMetrics, type Side } from './call-metrics.ts'
import type { Metrics } from './metrics.ts'
import { MirrorMetricsAndSpans } from './mirror-telemetry.ts'
import type { Taps } from './tap/taps.ts'
import { Tracing, type TracingApi } from './tracing.ts'
import { TrafficCounts } from './traffic/traffic-counts.ts'

/** A {@link Telemetry} that also runs code in the context of a call. */
export interface CallTelemetry extends Telemetry {
  /**
   * Runs the handler of a served call, with the call's span as the active one if it is recorded.
   */
  within<T>(call: Call, work: () => T): T
  /** Runs the dispatch of an attempt, hidden from the application's instrumentation of undici. */
  suppressed<T>(dispatch: () => T): T
}

export interface CallTelemetryOptions {
  readonly side: Side
  /** Our own service: the label `service` of every series. */
  readonly service: string
  readonly metrics: Metrics
  readonly clock: Clock
  /** From `loadTracingApi()`; without it, trace context is propagated but no span is made. */
  readonly tracingApi?: TracingApi | undefined
  /** Counts the calls for the registry, while it asks. */
  readonly traffic?: TrafficCounts | undefined
  /** Calls that operators watch. */
  readonly taps?: Taps | undefined
  /** Of this side. */
  readonly accessLog?: LoggedCalls | undefined
  /** The user's observers. Their exceptions are ignored. */
  readonly observers?: readonly Telemetry[] | undefined
}

export function createTelemetry(options: CallTelemetryOptions): CallTelemetry {
  return new MeteredAndTraced(options)
}

class MeteredAndTraced implements CallTelemetry {
  readonly mirrors: MirrorTelemetry | undefined
  readonly #metrics: CallMetrics
  readonly #tracing: Tracing | undefined
  readonly #accessLog: LoggedCalls | undefined
  readonly #side: Side
  readonly #taps: Taps | undefined
  readonly #observers: readonly Telemetry[] | undefined
  readonly #clock: Clock
  readonly #channels: CallChannels

  constructor(options: CallTelemetryOptions) {
    const { side, service, metrics, clock, tracingApi, accessLog, observers, traffic = new TrafficCounts() } = options
    this.#metrics = new CallMetrics(metrics, side, service, traffic, () => clock.wallNow())
    this.#tracing = tracingApi === undefined ? undefined : new Tracing(tracingApi, side)
    this.#accessLog = accessLog
    this.#side = side
    this.#taps = options.taps
    if (accessLog !== undefined && this.#tracing !== undefined) {
      accessLog.within = (call, work) => this.within(call, work)
    }
    this.mirrors =
      side === 'client' ? new MirrorMetricsAndSpans(metrics, service, traffic, this.#tracing, accessLog) : undefined
    this.#observers = observers === undefined || observers.length === 0 ? undefined : observers
    this.#clock = clock
    this.#channels = new CallChannels(side, service, clock)
  }

  callStarted(call: Call): void {
    this.#metrics.callStarted(call)
    if (this.#accessLog !== undefined) this.#accessLog.callStarted(call)
    if (this.#tracing === undefined) call.trace ??= call.parent?.trace
    else this.#tracing.callStarted(call)
    if (this.#observers !== undefined) this.#tell((observer) => observer.callStarted(call))
  }

  callRouted(call: Call): void {
    this.#metrics.callRouted(call)
    if (call.observed !== undefined) this.#tracing?.callRouted(call)
    if (this.#observers !== undefined) this.#tell((observer) => observer.callRouted?.(call))
  }

  attemptStarted(attempt: Attempt): void {
    if (attempt.number > 0) this.#metrics.attemptFollows(attempt)
    if (attempt.call.observed !== undefined) this.#tracing?.attemptStarted(attempt)
    if (ATTEMPT_STARTED.hasSubscribers) this.#channels.attemptStarted(attempt)
    if (this.#observers !== undefined) this.#tell((observer) => observer.attemptStarted(attempt))
  }

  attemptEnded(attempt: Attempt, outcome: Outcome, waitMs: number): void {
    this.#metrics.attemptEnded(attempt, outcome, waitMs)
    if (attempt.call.observed !== undefined) this.#tracing?.attemptEnded(attempt, outcome, waitMs)
    if (this.#accessLog !== undefined && waitMs === FINAL) this.#accessLog.decided(attempt)
    if (this.#taps?.open !== undefined && waitMs === FINAL) this.#taps.decided(attempt)
    if (ATTEMPT_ENDED.hasSubscribers || CALL_ENDED.hasSubscribers) {
      this.#channels.attemptEnded(attempt, outcome, waitMs)
    }
    if (this.#observers !== undefined) this.#tell((observer) => observer.attemptEnded(attempt, outcome, waitMs))
  }

  callEnded(call: Call, outcome: Outcome): void {
    const endedAt = call.first?.endedAt || this.#clock.now()
    this.#metrics.callEnded(call, outcome, endedAt)
    if (call.observed !== undefined) this.#tracing?.callEnded(call, outcome)
    if (this.#accessLog !== undefined) this.#accessLog.callEnded(call, outcome, endedAt)
    if (this.#taps?.open !== undefined) this.#taps.callEnded(this.#side, call, outcome, endedAt)
    if (CALL_ENDED.hasSubscribers) this.#channels.callEnded(call, outcome, endedAt)
    if (this.#observers !== undefined) this.#tell((observer) => observer.callEnded(call, outcome))
  }

  get wantsBytes(): boolean {
    return this.#accessLog?.active === true
  }

  connectionEnded(attempt: Attempt, outcome: Outcome): void {
    if (this.#accessLog !== undefined) this.#accessLog.connectionEnded(attempt, outcome)
  }

  within<T>(call: Call, work: () => T): T {
    return this.#tracing === undefined ? work() : this.#tracing.within(call, work)
  }

  suppressed<T>(dispatch: () => T): T {
    return this.#tracing === undefined ? dispatch() : this.#tracing.suppressed(dispatch)
  }

  #tell(what: (observer: Telemetry) => void): void {
    for (const observer of this.#observers!) {
      try {
        what(observer)
      } catch {
        // An observer must not change what it observes.
      }
    }
  }
}
