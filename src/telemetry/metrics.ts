/**
 * Counters, histograms and gauges of one mesh, formatted as Prometheus text on demand. The series
 * of a metric are bounded, because callers choose some label values.
 */

import type { CounterDefinition, GaugeDefinition, HistogramDefinition, MetricDefinition } from './define-metric.ts'
import { Histogram } from './histogram.ts'
import { OWN } from './metric-definitions.ts'
import type { DurationExporter, Labels, Reading, Sample } from './metric-reading.ts'
import { formatOpenMetrics } from './openmetrics.ts'
import { formatText, LABEL_NAME, METRIC_NAME } from './prometheus.ts'

/** Label values chosen from outside must not exhaust memory. */
export const MOST_SERIES = 2_000
/** The label values of the one series that counts everything beyond the bound. */
export const OVERFLOW = 'overflow'
/** Longer label values are truncated. */
const LONGEST_LABEL = 128

/** A monotonic count. */
export interface Counter {
  value: number
}

/** One sample of a gauge, read when metrics are scraped. */
export interface Observation {
  readonly labels?: Readonly<Record<string, string>>
  readonly value: number
}

interface Series<T> {
  readonly values: readonly string[]
  readonly cell: T
}

/**
 * All series of one metric. Keep what {@link series} returns: a look-up costs, counting does not.
 */
export class Family<T, D extends MetricDefinition = MetricDefinition> {
  readonly definition: D
  readonly #make: () => T
  readonly #overflowed: Counter
  readonly #series = new Map<string, Series<T>>()
  readonly #overflow: Series<T>
  readonly #overflowKey: string
  #overflowUsed = false

  constructor(definition: D, make: () => T, overflowed: Counter) {
    this.definition = definition
    this.#make = make
    this.#overflowed = overflowed
    this.#overflow = { values: definition.labels.map(() => OVERFLOW), cell: make() }
    this.#overflowKey = JSON.stringify(this.#overflow.values)
  }

  /**
   * The series with these label values, in the order of the names; beyond the bound, the overflow
   * series.
   */
  series(...values: readonly string[]): T {
    const cut = values.map((value) => (value.length > LONGEST_LABEL ? value.slice(0, LONGEST_LABEL) : value))
    const key = JSON.stringify(cut)
    const known = this.#series.get(key)
    if (known !== undefined) return known.cell
    if (this.#series.size >= MOST_SERIES || (key === this.#overflowKey && values.length > 0)) {
      this.#overflowed.value += 1
      this.#overflowUsed = true
      return this.#overflow.cell
    }
    const cell = this.#make()
    this.#series.set(key, { values: cut, cell })
    return cell
  }

  *entries(): IterableIterator<Series<T>> {
    yield* this.#series.values()
    if (this.#overflowUsed) yield this.#overflow
  }
}

interface Gauge {
  readonly definition: GaugeDefinition
  readonly observers: Set<() => Iterable<Observation>>
}

/** The metrics of one mesh. */
export class Metrics {
  /** `undefined`: the application has no OpenTelemetry API. */
  exporter: DurationExporter | undefined = undefined
  readonly #counters = new Map<string, Family<Counter, CounterDefinition>>()
  readonly #histograms = new Map<string, Family<Histogram, HistogramDefinition>>()
  readonly #gauges = new Map<string, Gauge>()
  readonly #overflowed = new Map<string, Counter>()
  readonly #unreadable: Counter = { value: 0 }
  /** Of the metrics about metrics: several meshes may share a registry or a provider. */
  readonly #own: Labels

  constructor(service = '') {
    this.#own = service === '' ? {} : { service }
  }

  /** The same name always returns the same family, with the definition of the first call. */
  counter(definition: CounterDefinition): Family<Counter> {
    return this.#family(this.#counters, definition, () => ({ value: 0 }))
  }

  histogram(definition: HistogramDefinition): Family<Histogram> {
    return this.#family(this.#histograms, definition, () => new Histogram())
  }

  /**
   * `observe` is called when metrics are scraped and must be synchronous. Several parts may observe
   * one name; for equal labels the last wins. Returns a function that unregisters it.
   */
  gauge(definition: GaugeDefinition, observe: () => Iterable<Observation>): () => void {
    const { name } = definition
    let gauge = this.#gauges.get(name)
    if (gauge === undefined) {
      this.#claim(definition)
      gauge = { definition, observers: new Set() }
      this.#gauges.set(name, gauge)
    }
    const { observers } = gauge
    observers.add(observe)
    return () => {
      observers.delete(observe)
    }
  }

  /** All metrics as Prometheus text (exposition format 0.0.4). */
  text(): string {
    return formatText(this.readings())
  }

  /** All metrics as OpenMetrics 1.0 text, with exemplars of recorded calls. */
  openMetrics(): string {
    return formatOpenMetrics(this.readings())
  }

  /** What is known now, metric by metric; gauges are read as they are reached. */
  *readings(): IterableIterator<Reading> {
    const names = [...this.#counters.keys(), ...this.#histograms.keys(), ...this.#gauges.keys()]
    for (const name of [...names, OWN.overflow.name, OWN.unreadable.name]) yield this.reading(name)!
  }

  /** One metric as it is now; `undefined`: it is not known. */
  reading(name: string): Reading | undefined {
    const counters = this.#counters.get(name)
    if (counters !== undefined) {
      return { definition: counters.definition, samples: samplesOf(counters, ({ value }) => value) }
    }
    const histograms = this.#histograms.get(name)
    if (histograms !== undefined) {
      return { definition: histograms.definition, samples: samplesOf(histograms, (histogram) => histogram) }
    }
    const gauge = this.#gauges.get(name)
    if (gauge !== undefined) return { definition: gauge.definition, samples: this.#gaugeSamples(gauge) }
    if (name === OWN.overflow.name) return { definition: OWN.overflow, samples: this.#overflowSamples() }
    if (name !== OWN.unreadable.name) return undefined
    return { definition: OWN.unreadable, samples: [{ labels: this.#own, value: this.#unreadable.value }] }
  }

  #gaugeSamples({ definition, observers }: Gauge): Iterable<Sample> {
    const samples = new Map<string, Sample>()
    for (const observe of observers) {
      try {
        for (const { labels = {}, value } of observe()) {
          const cut: Record<string, string> = {}
          for (const [name, text] of Object.entries(labels)) if (text !== '') cut[name] = text.slice(0, LONGEST_LABEL)
          const key = JSON.stringify(cut)
          if (samples.size < MOST_SERIES || samples.has(key)) samples.set(key, { labels: cut, value })
          else this.overflowed(definition.name).value += 1
        }
      } catch {
        // One failing gauge must not hide the others.
        this.#unreadable.value += 1
      }
    }
    return samples.values()
  }

  *#overflowSamples(): IterableIterator<Sample> {
    for (const [metric, { value }] of this.#overflowed) {
      if (value > 0) yield { labels: { ...this.#own, metric }, value }
    }
  }

  #family<T, D extends MetricDefinition>(
    families: Map<string, Family<T, D>>,
    definition: D,
    make: () => T,
  ): Family<T, D> {
    const { name } = definition
    const known = families.get(name)
    if (known !== undefined) return known
    this.#claim(definition)
    const family = new Family(definition, make, this.overflowed(name))
    families.set(name, family)
    return family
  }

  #claim({ name, labels }: MetricDefinition): void {
    if (!METRIC_NAME.test(name)) throw new TypeError(`'${name}' is no valid name of a metric`)
    for (const label of labels) {
      if (!LABEL_NAME.test(label)) throw new TypeError(`'${label}' is no valid name of a label of ${name}`)
    }
    if (this.#counters.has(name) || this.#histograms.has(name) || this.#gauges.has(name)) {
      throw new TypeError(`the metric ${name} exists already, as another kind`)
    }
  }

  /** How often a series of `name` was requested beyond the bound; for callers that cache series. */
  overflowed(name: string): Counter {
    let counter = this.#overflowed.get(name)
    if (counter === undefined) {
      counter = { value: 0 }
      this.#overflowed.set(name, counter)
    }
    return counter
  }
}

/** To all readers, an empty value is the same as no label. */
function* samplesOf<T, V>(family: Family<T>, read: (cell: T) => V) {
  for (const { values, cell } of family.entries()) {
    const labels: Record<string, string> = {}
    family.definition.labels.forEach((label, i) => {
      const value = values[i] ?? ''
      if (value !== '') labels[label] = value
    })
    yield { labels, value: read(cell) }
  }
}
