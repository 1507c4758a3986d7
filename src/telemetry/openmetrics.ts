/**
 * Formats metrics as OpenMetrics 1.0 text, which adds units and exemplars to that of Prometheus
 * (https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md).
 */

import { qualityValues } from '../net/quality-values.ts'
import type { MetricDefinition } from './define-metric.ts'
import type { Exemplar } from './exemplars.ts'
import { BOUNDARIES_MS } from './histogram.ts'
import type { Reading } from './metric-reading.ts'
import { escapeLabel, formatHistogram, formatSample, formatValue } from './prometheus.ts'

/** The `content-type` of a response with OpenMetrics text. */
export const OPENMETRICS_CONTENT_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8'

const UNITS: Readonly<Record<string, string>> = { s: 'seconds', By: 'bytes' }

export function formatOpenMetrics(readings: Iterable<Reading>): string {
  let text = ''
  for (const { definition, samples } of readings) {
    const { name } = definition
    text += formatHead(definition)
    for (const { labels, value } of samples) {
      if (typeof value === 'number') text += formatSample(name, labels, value)
      else text += formatHistogram(name, labels, value, ENDS, (bucket) => formatExemplar(value.exemplars?.of(bucket)))
    }
  }
  return `${text}# EOF\n`
}

/** A family of counters has the name of its samples without `_total`. */
function formatHead({ name, kind, unit, help }: MetricDefinition): string {
  const family = kind === 'counter' ? name.replace(/_total$/, '') : name
  const named = UNITS[unit]
  const unitLine = named !== undefined && family.endsWith(`_${named}`) ? `# UNIT ${family} ${named}\n` : ''
  return `# TYPE ${family} ${kind}\n${unitLine}# HELP ${family} ${escapeLabel(help)}\n`
}

function formatExemplar(exemplar: Exemplar | undefined): string {
  if (exemplar === undefined) return ''
  const { traceId, spanId, ms, at } = exemplar
  return ` # {trace_id="${traceId}",span_id="${spanId}"} ${formatValue(ms / 1_000)} ${(at / 1_000).toFixed(3)}`
}

/** Floats, so that no scraper takes `1` and `1.0` for two buckets. */
const ENDS = [...BOUNDARIES_MS.map((boundary) => float(boundary / 1_000)), '+Inf']

function float(value: number): string {
  return Number.isInteger(value) ? value.toFixed(1) : String(value)
}

/**
 * Whether a scraper prefers OpenMetrics to the text of Prometheus, by its `accept` header. Without
 * a preference it gets the older text.
 */
export function prefersOpenMetrics(accept: string | undefined): boolean {
  const weights = qualityValues(accept)
  const openMetrics = weights.get('application/openmetrics-text') ?? 0
  return openMetrics > 0 && openMetrics >= (weights.get('text/plain') ?? 0)
}
