/**
 * Registers all metrics with a registry of `prom-client` 14 or later, which then shows them with
 * its own. Several meshes may share one registry: the label `service` tells them apart.
 */
import { OptionsError, show } from '../options/fields.ts'
import type { MetricDefinition } from './define-metric.ts'
import type { Exemplar } from './exemplars.ts'
import { BOUNDARIES_MS, type Histogram } from './histogram.ts'
import { METRIC_DEFINITIONS } from './metric-definitions.ts'
import type { HistogramSample, Labels, Sample } from './metric-reading.ts'
import type { Metrics } from './metrics.ts'

/** The part of `Registry` of `prom-client` that is used; the package is no dependency. */
export interface PromClientRegistry {
  registerMetric(metric: never): void
  getSingleMetric(name: string): unknown
  removeSingleMetric(name: string): void
}

interface Value {
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
  readonly metricName?: string
  readonly exemplar?: { readonly labelSet: Labels; readonly value: number; readonly timestamp: number }
}

/** A metric as `prom-client` wants it; its registry may rename it. */
class SharedMetric {
  name: string
  readonly help: string
  readonly type: string
  /** How a cluster of processes joins it. */
  readonly aggregator: string
  readonly #definition: MetricDefinition
  readonly #sources: ReadonlySet<Metrics>

  constructor(definition: MetricDefinition, sources: ReadonlySet<Metrics>) {
    this.name = definition.name
    this.help = definition.help
    this.type = definition.kind
    this.aggregator = definition.kind === 'gauge' && !definition.name.endsWith('in_flight') ? 'max' : 'sum'
    this.#definition = definition
    this.#sources = sources
  }

  /** Of what a mesh has counted nothing is taken back. */
  reset(): void {}

  async get() {
    const { name, help, type, aggregator } = this
    const values: Value[] = []
    for (const { labels, value } of this.#samples()) {
      if (typeof value === 'number') values.push({ labels, value })
      else values.push(...valuesOf(name, labels, value))
    }
    return { name, help, type, aggregator, values }
  }

  /** Meshes of one service have series of the same labels, which must be one. */
  #samples(): Iterable<Sample | HistogramSample> {
    const joined = new Map<string, Sample | HistogramSample>()
    for (const metrics of this.#sources) {
      for (const sample of metrics.reading(this.#definition.name)?.samples ?? []) {
        const key = JSON.stringify(sample.labels)
        const known = joined.get(key)
        joined.set(key, known === undefined ? sample : this.#join(known, sample))
      }
    }
    return joined.values()
  }

  #join({ labels, value }: Sample | HistogramSample, other: Sample | HistogramSample): Sample | HistogramSample {
    if (typeof value === 'number') {
      const more = Number(other.value)
      return { labels, value: this.aggregator === 'sum' ? value + more : Math.max(value, more) }
    }
    const both = value.copy()
    both.merge(other.value as Histogram)
    return { labels, value: both }
  }
}

/** What one registry shows. */
interface Shown {
  readonly sources: Set<Metrics>
  /** By the name with which each was registered. */
  readonly metrics: ReadonlyMap<string, SharedMetric>
}

const METHODS = ['registerMetric', 'getSingleMetric', 'removeSingleMetric'] as const

const shownBy = new WeakMap<PromClientRegistry, Shown>()

/**
 * Returns how to remove them. @throws OptionsError if it is no registry, and what the registry
 * throws if it has a metric of one of the names
 */
export function registerWith(register: PromClientRegistry, metrics: Metrics): () => void {
  const isOne = METHODS.every((name) => typeof register?.[name] === 'function')
  if (!isOne) {
    const message = `expected a registry of prom-client, with ${METHODS.join('(), ')}(), got ${show(register)}`
    throw new OptionsError('mesh.registerMetrics', [{ path: ['register'], message }])
  }
  const known = shownBy.get(register)
  const shown = known !== undefined && isShown(register, known) ? known : showIn(register)
  const { sources } = shown
  sources.add(metrics)
  return () => {
    if (!sources.delete(metrics) || sources.size > 0) return
    for (const [name, metric] of shown.metrics) {
      if (register.getSingleMetric(name) === metric) register.removeSingleMetric(name)
    }
    if (shownBy.get(register) === shown) shownBy.delete(register)
  }
}

/** Not after `register.clear()`. */
function isShown(register: PromClientRegistry, { metrics }: Shown): boolean {
  for (const [name, metric] of metrics) if (register.getSingleMetric(name) !== metric) return false
  return true
}

function showIn(register: PromClientRegistry): Shown {
  const sources = new Set<Metrics>()
  const metrics = new Map<string, SharedMetric>()
  try {
    for (const definition of METRIC_DEFINITIONS) {
      const metric = new SharedMetric(definition, sources)
      register.registerMetric(metric as never)
      metrics.set(definition.name, metric)
    }
  } catch (error) {
    for (const name of metrics.keys()) register.removeSingleMetric(name)
    throw error
  }
  const shown = { sources, metrics }
  shownBy.set(register, shown)
  return shown
}

function* valuesOf(name: string, labels: Labels, histogram: Histogram): IterableIterator<Value> {
  const { atMost, count, sumMs } = histogram.totals()
  const bucket = (le: number | string, value: number, exemplar: Exemplar | undefined): Value => ({
    metricName: `${name}_bucket`,
    labels: { ...labels, le },
    value,
    ...(exemplar !== undefined && { exemplar: exemplarOf(exemplar) }),
  })
  for (const [i, boundary] of BOUNDARIES_MS.entries()) {
    yield bucket(boundary / 1_000, atMost[i]!, histogram.exemplars?.of(i))
  }
  yield bucket('+Inf', count, histogram.exemplars?.of(BOUNDARIES_MS.length))
  yield { metricName: `${name}_sum`, labels, value: sumMs / 1_000 }
  yield { metricName: `${name}_count`, labels, value: count }
}

function exemplarOf({ traceId, spanId, ms, at }: Exemplar): NonNullable<Value['exemplar']> {
  return { labelSet: { trace_id: traceId, span_id: spanId }, value: ms / 1_000, timestamp: at / 1_000 }
}
