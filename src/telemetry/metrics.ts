/**
 * Counters, histograms and gauges of one mesh, formatted as Prometheus text on demand. The series
 * of a metric are bounded, because callers choose some label values.
 */
import { Histogram } from './histogram.ts'
import { formatHead, formatHistogram, formatLabels, formatSample, LABEL_NAME, METRIC_NAME } from './prometheus.ts'

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
export class Family<T> {
  readonly name: string
  readonly help: string
  readonly labelNames: readonly string[]
  readonly #make: () => T
  readonly #overflowed: Counter
  readonly #series = new Map<string, Series<T>>()
  readonly #overflow: Series<T>
  readonly #overflowKey: string
  #overflowUsed = false

  constructor(name: string, help: string, labelNames: readonly string[], make: () => T, overflowed: Counter) {
    this.name = name
    this.help = help
    this.labelNames = labelNames
    this.#make = make
    this.#overflowed = overflowed
    this.#overflow = { values: labelNames.map(() => OVERFLOW), cell: make() }
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
  readonly name: string
  readonly help: string
  readonly observers: Set<() => Iterable<Observation>>
}

/** The metrics of one mesh. */
export class Metrics {
  readonly #counters = new Map<string, Family<Counter>>()
  readonly #histograms = new Map<string, Family<Histogram>>()
  readonly #gauges = new Map<string, Gauge>()
  readonly #overflowed = new Map<string, Counter>()
  readonly #unreadable: Counter = { value: 0 }

  /** The same name always returns the same family, with the help and labels of the first call. */
  counter(name: string, help: string, labelNames: readonly string[] = []): Family<Counter> {
    return this.#family(this.#counters, name, help, labelNames, () => ({ value: 0 }))
  }

  histogram(name: string, help: string, labelNames: readonly string[] = []): Family<Histogram> {
    return this.#family(this.#histograms, name, help, labelNames, () => new Histogram())
  }

  /**
   * `observe` is called when metrics are scraped and must be synchronous. Several parts may observe
   * one name; for equal labels the last wins. Returns a function that unregisters it.
   */
  gauge(name: string, help: string, observe: () => Iterable<Observation>): () => void {
    let gauge = this.#gauges.get(name)
    if (gauge === undefined) {
      this.#claim(name, [])
      gauge = { name, help, observers: new Set() }
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
    let text = ''
    for (const family of this.#counters.values()) {
      text += formatHead(family.name, family.help, 'counter')
      for (const { values, cell } of family.entries()) {
        text += formatSample(family.name, formatLabels(family.labelNames, values), cell.value)
      }
    }
    for (const family of this.#histograms.values()) {
      text += formatHead(family.name, family.help, 'histogram')
      for (const { values, cell } of family.entries()) {
        text += formatHistogram(family.name, family.labelNames, values, cell.totals())
      }
    }
    for (const gauge of this.#gauges.values()) text += this.#gaugeText(gauge)
    return text + this.#ownText()
  }

  #gaugeText(gauge: Gauge): string {
    const samples = new Map<string, number>()
    for (const observe of gauge.observers) {
      try {
        for (const { labels = {}, value } of observe()) {
          const names = Object.keys(labels)
          const key = formatLabels(
            names,
            names.map((name) => labels[name]!.slice(0, LONGEST_LABEL)),
          )
          if (samples.size < MOST_SERIES || samples.has(key)) samples.set(key, value)
          else this.overflowed(gauge.name).value += 1
        }
      } catch {
        // One failing gauge must not hide the others.
        this.#unreadable.value += 1
      }
    }
    let text = formatHead(gauge.name, gauge.help, 'gauge')
    for (const [labels, value] of samples) text += formatSample(gauge.name, labels, value)
    return text
  }

  #ownText(): string {
    const overflow = 'inmesh_metrics_overflow_total'
    let text = formatHead(overflow, 'Look-ups of a series beyond the bound of its metric.', 'counter')
    for (const [metric, counter] of this.#overflowed) {
      if (counter.value > 0) text += formatSample(overflow, formatLabels(['metric'], [metric]), counter.value)
    }
    const unreadable = 'inmesh_metrics_unreadable_total'
    text += formatHead(unreadable, 'Gauges that threw when they were read.', 'counter')
    return text + formatSample(unreadable, '', this.#unreadable.value)
  }

  #family<T>(
    families: Map<string, Family<T>>,
    name: string,
    help: string,
    labelNames: readonly string[],
    make: () => T,
  ): Family<T> {
    const known = families.get(name)
    if (known !== undefined) return known
    this.#claim(name, labelNames)
    const family = new Family(name, help, labelNames, make, this.overflowed(name))
    families.set(name, family)
    return family
  }

  #claim(name: string, labelNames: readonly string[]): void {
    if (!METRIC_NAME.test(name)) throw new TypeError(`'${name}' is no valid name of a metric`)
    for (const label of labelNames) {
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
