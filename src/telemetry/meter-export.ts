/**
 * Exports all metrics through the application's MeterProvider, if it registers one: counts and
 * gauges when the SDK reads them, durations as they end. Nothing is counted twice.
 */
import type { Attributes, BatchObservableResult, Histogram, Observable } from '@opentelemetry/api'
import type { Call } from '../core/call.ts'
import type { Clock, Timer } from '../core/clock.ts'
import type { Outcome } from '../core/outcome.ts'
import type { CallAttributes } from './call-attributes.ts'
import type { HistogramDefinition } from './define-metric.ts'
import { BOUNDARIES_MS } from './histogram.ts'
import { CLIENT_CALLS, METRIC_DEFINITIONS, SERVER_CALLS } from './metric-definitions.ts'
import type { DurationExporter, Labels, Reading } from './metric-reading.ts'
import { OTEL_CALL_DURATIONS, otelName } from './otel-names.ts'
import { contextOf, type TracingApi } from './tracing.ts'

/** How soon a process without calls notices that a provider was registered, replaced or removed. */
const IDLE_CHECK_MS = 1_000
const NAME = 'inmesh'

/** What is registered with one provider. */
interface Instruments {
  /** By the name of the definition; of calls by protocol and side. */
  readonly durations: ReadonlyMap<string, Histogram>
  stop(): void
}

export class MeterExport implements DurationExporter {
  readonly #api: TracingApi
  readonly #clock: Clock
  readonly #readings: () => Iterable<Reading>
  readonly #none: unknown
  #provider: unknown
  #instruments: Instruments | undefined
  #timer: Timer | undefined

  constructor(api: TracingApi, clock: Clock, readings: () => Iterable<Reading>) {
    this.#api = api
    this.#clock = clock
    this.#readings = readings
    this.#none = api.createNoopMeter()
  }

  /** Looks for a provider also while no call is made, until {@link stop}. */
  start(): void {
    this.#check()
    this.#timer = this.#clock.startBackgroundTimer(IDLE_CHECK_MS, restart, this)
  }

  stop(): void {
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#timer = undefined
    this.#unregister()
    this.#provider = undefined
  }

  /** Whether there is a provider to record for. Looks at each call: 10 to 45 ns. */
  isOn(): boolean {
    this.#check()
    return this.#instruments !== undefined
  }

  /** Only after {@link isOn}. `known`: what the calls of one series have in common. */
  callEnded(side: 'client' | 'server', call: Call, outcome: Outcome, ms: number, known: CallAttributes): void {
    const { http, grpc } = OTEL_CALL_DURATIONS[side]
    const name = call.kind.protocol === 'http' ? http : call.kind.protocol === 'grpc' ? grpc : undefined
    if (name === undefined) return
    const histogram = this.#instruments?.durations.get(name)
    this.#record(histogram, ms, known.of(call, outcome), contextOf(call))
  }

  /** Only after {@link isOn}. */
  lasted({ name }: HistogramDefinition, ms: number, labels: Labels): void {
    this.#record(this.#instruments?.durations.get(name), ms, labels, undefined)
  }

  #record(histogram: Histogram | undefined, ms: number, attributes: Attributes, context = this.#api.ROOT_CONTEXT) {
    try {
      histogram?.record(ms > 0 ? ms / 1_000 : 0, attributes, context)
    } catch {
      // Processors of attributes are application code; their errors must not fail a call.
    }
  }

  #check(): void {
    const provider = this.#api.metrics.getMeterProvider()
    if (provider === this.#provider) return
    this.#provider = provider
    this.#unregister()
    try {
      const meter = provider.getMeter(NAME)
      if (meter !== this.#none) this.#instruments = this.#register(meter)
    } catch {
      // As above; the next provider gets its chance.
    }
  }

  #unregister(): void {
    const instruments = this.#instruments
    this.#instruments = undefined
    try {
      instruments?.stop()
    } catch {
      // As above.
    }
  }

  #register(meter: ReturnType<TracingApi['metrics']['getMeter']>): Instruments {
    const durations = new Map<string, Histogram>()
    const observables = new Map<string, Observable>()
    const advice = { explicitBucketBoundaries: BOUNDARIES_MS.map((ms) => ms / 1_000) }
    for (const definition of METRIC_DEFINITIONS) {
      const { name, kind, unit, help: description } = definition
      const options = { unit, description }
      if (kind === 'counter') observables.set(name, meter.createObservableCounter(otelName(name), options))
      else if (kind === 'gauge') observables.set(name, meter.createObservableGauge(otelName(name), options))
      else if (definition !== CLIENT_CALLS.durations && definition !== SERVER_CALLS.durations) {
        durations.set(name, meter.createHistogram(otelName(name), { ...options, advice }))
      }
    }
    for (const [side, { durations: definition }] of [
      ['client', CLIENT_CALLS],
      ['server', SERVER_CALLS],
    ] as const) {
      const options = { unit: definition.unit, description: definition.help, advice }
      for (const name of Object.values(OTEL_CALL_DURATIONS[side])) {
        durations.set(name, meter.createHistogram(name, options))
      }
    }
    const observe = (result: BatchObservableResult): void => {
      for (const { definition, samples } of this.#readings()) {
        const observable = observables.get(definition.name)
        if (observable === undefined) continue
        for (const { labels, value } of samples)
          if (typeof value === 'number') result.observe(observable, value, labels)
      }
    }
    const all = [...observables.values()]
    meter.addBatchObservableCallback(observe, all)
    return { durations, stop: () => meter.removeBatchObservableCallback(observe, all) }
  }
}

function restart(meters: MeterExport): void {
  meters.start()
}
