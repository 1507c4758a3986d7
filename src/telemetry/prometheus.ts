/** Formats families, labels and values as Prometheus text (exposition format 0.0.4). */
import { BOUNDARIES_MS, type HistogramTotals } from './histogram.ts'

/** The `content-type` of a response with metrics. */
export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

export const METRIC_NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
export const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/

export type MetricKind = 'counter' | 'gauge' | 'histogram'

export function formatHead(name: string, help: string, kind: MetricKind): string {
  return `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} ${kind}\n`
}

/**
 * `{service="checkout",code="ok"}`, or nothing. To Prometheus, an empty value is the same as no
 * label.
 */
export function formatLabels(names: readonly string[], values: readonly string[]): string {
  let text = ''
  for (let i = 0; i < names.length; i++) {
    const value = values[i] ?? ''
    if (value !== '') text += `${text === '' ? '{' : ','}${names[i]}="${escapeLabel(value)}"`
  }
  return text === '' ? '' : `${text}}`
}

export function formatSample(name: string, labels: string, value: number): string {
  return `${name}${labels} ${formatValue(value)}\n`
}

/** Buckets are cumulative and in seconds. */
export function formatHistogram(
  name: string,
  labelNames: readonly string[],
  values: readonly string[],
  totals: HistogramTotals,
): string {
  const bucketLabels = [...labelNames, 'le']
  let text = ''
  BOUNDARIES_MS.forEach((boundary, i) => {
    const labels = formatLabels(bucketLabels, [...values, String(boundary / 1_000)])
    text += formatSample(`${name}_bucket`, labels, totals.atMost[i]!)
  })
  text += formatSample(`${name}_bucket`, formatLabels(bucketLabels, [...values, '+Inf']), totals.count)
  const labels = formatLabels(labelNames, values)
  text += formatSample(`${name}_sum`, labels, totals.sumMs / 1_000)
  return text + formatSample(`${name}_count`, labels, totals.count)
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')
}

function formatValue(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf'
  if (value === Number.NEGATIVE_INFINITY) return '-Inf'
  return String(value)
}
