/** The metrics of guarded functions: one set of series per name, for the methods of all objects. */
import type { Call } from '../core/call.ts'
import type { Outcome } from '../core/outcome.ts'
import type { CircuitState } from '../resilience/circuit-breaker.ts'
import { type FunctionWatcher, listedFunctions, watchFunctions } from '../resilience/guard/watched-functions.ts'
import type { Histogram } from './histogram.ts'
import { FUNCTIONS } from './metric-definitions.ts'
import { type Counter, type Family, type Metrics, MOST_SERIES, type Observation, OVERFLOW } from './metrics.ts'

const CIRCUIT: Record<CircuitState, number> = { closed: 0, 'half-open': 1, open: 2 }

interface FunctionSeries {
  readonly labels: readonly [service: string, name: string]
  readonly ok: Counter
  readonly executedOk: Counter
  readonly duration: Histogram
  inFlight: number
}

class FunctionMetrics implements FunctionWatcher {
  readonly #metrics: Metrics
  readonly #service: string
  readonly #calls: Family<Counter>
  readonly #durations: Family<Histogram>
  readonly #attempts: Family<Counter>
  readonly #retries: Family<Counter>
  readonly #series = new Map<string, FunctionSeries>()
  #overflow: FunctionSeries | undefined

  constructor(metrics: Metrics, service: string) {
    this.#metrics = metrics
    this.#service = service
    this.#calls = metrics.counter(FUNCTIONS.calls)
    this.#durations = metrics.histogram(FUNCTIONS.durations)
    this.#attempts = metrics.counter(FUNCTIONS.attempts)
    this.#retries = metrics.counter(FUNCTIONS.retries)
  }

  started(call: Call): void {
    this.#seriesOf(call.kind.service).inFlight += 1
  }

  attemptEnded(call: Call, outcome: Outcome, waitMs: number): void {
    const { labels, executedOk } = this.#seriesOf(call.kind.service)
    const code = codeOf(outcome)
    if (code === 'ok') executedOk.value += 1
    else this.#attempts.series(...labels, code).value += 1
    if (waitMs >= 0) this.#retries.series(...labels, code).value += 1
  }

  ended(call: Call, outcome: Outcome, durationMs: number): void {
    const series = this.#seriesOf(call.kind.service)
    const code = codeOf(outcome)
    series.inFlight -= 1
    series.duration.record(durationMs)
    const { exporter } = this.#metrics
    if (exporter?.isOn()) {
      const [service, name] = series.labels
      exporter.lasted(FUNCTIONS.durations, durationMs, { service, function: name })
    }
    if (code === 'ok') series.ok.value += 1
    else this.#calls.series(...series.labels, code).value += 1
  }

  *inFlight(): IterableIterator<Observation> {
    for (const { labels, inFlight } of [...this.#series.values(), ...(this.#overflow ? [this.#overflow] : [])]) {
      yield { labels: { service: labels[0], function: labels[1] }, value: inFlight }
    }
  }

  /** Of several functions with one name the worst: an open one must be seen. */
  *circuits(): IterableIterator<Observation> {
    const worst = new Map<string, number>()
    for (const { name, breaker } of listedFunctions()) {
      if (breaker === undefined) continue
      const known = worst.get(name)
      if (known === undefined && worst.size >= MOST_SERIES) continue
      worst.set(name, Math.max(known ?? 0, CIRCUIT[breaker.state]))
    }
    for (const [name, value] of worst) yield { labels: { service: this.#service, function: name }, value }
  }

  #seriesOf(name: string): FunctionSeries {
    const known = this.#series.get(name)
    if (known !== undefined) return known
    if (this.#series.size >= MOST_SERIES) {
      this.#overflow ??= this.#make([OVERFLOW, OVERFLOW])
      return this.#overflow
    }
    const series = this.#make([this.#service, name])
    this.#series.set(name, series)
    return series
  }

  #make(labels: FunctionSeries['labels']): FunctionSeries {
    return {
      labels,
      ok: this.#calls.series(...labels, 'ok'),
      executedOk: this.#attempts.series(...labels, 'ok'),
      duration: this.#durations.series(...labels),
      inFlight: 0,
    }
  }
}

/** Counts the guarded functions of this process from now on; returns how to stop. */
export function meterFunctions(metrics: Metrics, service: string): () => void {
  const functions = new FunctionMetrics(metrics, service)
  const undo = [
    watchFunctions(functions),
    metrics.gauge(FUNCTIONS.inFlight, () => functions.inFlight()),
    metrics.gauge(FUNCTIONS.circuit, () => functions.circuits()),
  ]
  return () => {
    for (const stop of undo) stop()
  }
}

function codeOf({ verdict, code }: Outcome): string {
  return verdict === 'success' ? 'ok' : (code ?? verdict)
}
