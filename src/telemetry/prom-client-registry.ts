/**
 * Registers all metrics with a registry of `prom-client` 14 or later, which then shows them with
 * its own. Several meshes may share one registry: the label `service` tells them apart.
 */
import { OptionsError, show } from '../options/fields.ts'
import type { MetricDefinition } from './define-metric.ts'
import type { Exemplar } from './exemplars.ts'
import { BOUNDARIES_MS, type Histogram } from './histogram.ts'
import { METRIC_DEFINITIONS } from './metric-definitions.ts'
import type { Labels } from './metric-reading.ts'
import type { Metrics } from './metrics.ts'

/** The part of `Registry` of `prom-client` that is used; the package is no dependency. */
export interface PromClientRegistry {
  registerMetric(metric: never): void
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
    for (const metrics of this.#sources) {
      for (const { labels, value } of metrics.reading(this.#definition.name)?.samples ?? []) {
        if (typeof value === 'number') values.push({ labels, value })
        else values.push(...valuesOf(name, labels, value))
      }
    }
    return { name, help, type, aggregator, values }
  }
}

/** What one registry shows. */
interface Shown {
  readonly sources: Set<Metrics>
  readonly metrics: readonly SharedMetric[]
}

const shownBy = new WeakMap<PromClientRegistry, Shown>()

/**
 * Returns how to remove them. @throws OptionsError if it is no registry, and what the registry
 * throws if it has a metric of one of the names
 */
export function registerWith(register: PromClientRegistry, metrics: Metrics): () => void {
  if (typeof register?.registerMetric !== 'function' || typeof register.removeSingleMetric !== 'function') {
    const message = `expected a registry of prom-client, with registerMetric() and removeSingleMetric(), got ${show(register)}`
    throw new OptionsError('mesh.registerMetrics', [{ path: ['register'], message }])
  }
  const { sources } = shownBy.get(register) ?? showIn(register)
  sources.add(metrics)
  return () => {
    if (!sources.delete(metrics) || sources.size > 0) return
    for (const { name } of METRIC_DEFINITIONS) register.removeSingleMetric(name)
    shownBy.delete(register)
  }
}

function showIn(register: PromClientRegistry): Shown {
  const sources = new Set<Metrics>()
  const metrics = METRIC_DEFINITIONS.map((definition) => new SharedMetric(definition, sources))
  const registered: string[] = []
  try {
    for (const metric of metrics) {
      register.registerMetric(metric as never)
      registered.push(metric.name)
    }
  } catch (error) {
    for (const name of registered) register.removeSingleMetric(name)
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
