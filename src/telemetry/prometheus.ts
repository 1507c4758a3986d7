/** Formats metrics as Prometheus text (exposition format 0.0.4). */

import type { MetricDefinition } from './define-metric.ts'
import { BOUNDARIES_MS, type Histogram } from './histogram.ts'
import type { Labels, Reading } from './metric-reading.ts'

/** The `content-type` of a response with metrics. */
export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

export const METRIC_NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
export const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/

export function formatText(readings: Iterable<Reading>): string {
  let text = ''
  for (const { definition, samples } of readings) {
    const { name } = definition
    text += formatHead(definition)
    for (const { labels, value } of samples) {
      if (typeof value === 'number') text += `${name}${formatLabels(labels)} ${formatValue(value)}\n`
      else text += formatHistogram(name, labels, value)
    }
  }
  return text
}

function formatHead({ name, help, kind }: MetricDefinition): string {
  const escaped = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
  return `# HELP ${name} ${escaped}\n# TYPE ${name} ${kind}\n`
}

/** `{service="checkout",code="ok"}`, or nothing. */
export function formatLabels(labels: Labels): string {
  let text = ''
  for (const [name, value] of Object.entries(labels)) {
    if (value !== '') text += `${text === '' ? '{' : ','}${name}="${escapeLabel(value)}"`
  }
  return text === '' ? '' : `${text}}`
}

/** Buckets are cumulative and in seconds. */
function formatHistogram(name: string, labels: Labels, histogram: Histogram): string {
  const { atMost, count, sumMs } = histogram.totals()
  let text = ''
  BOUNDARIES_MS.forEach((boundary, i) => {
    text += `${name}_bucket${formatLabels({ ...labels, le: String(boundary / 1_000) })} ${atMost[i]}\n`
  })
  text += `${name}_bucket${formatLabels({ ...labels, le: '+Inf' })} ${count}\n`
  const own = formatLabels(labels)
  return `${text}${name}_sum${own} ${formatValue(sumMs / 1_000)}\n${name}_count${own} ${count}\n`
}

export function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')
}

export function formatValue(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf'
  if (value === Number.NEGATIVE_INFINITY) return '-Inf'
  return String(value)
}
