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
      if (typeof value === 'number') text += formatSample(name, labels, value)
      else text += formatHistogram(name, labels, value, ENDS, nothing)
    }
  }
  return text
}

function formatHead({ name, help, kind }: MetricDefinition): string {
  const escaped = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
  return `# HELP ${name} ${escaped}\n# TYPE ${name} ${kind}\n`
}

/** `{service="checkout",code="ok"}`, or nothing. */
function formatLabels(labels: Labels): string {
  const text = labelText(labels)
  return text === '' ? '' : `{${text}}`
}

/** `service="checkout",code="ok"` */
function labelText(labels: Labels): string {
  let text = ''
  for (const name in labels) {
    const value = labels[name]!
    if (value !== '') text += `${text === '' ? '' : ','}${name}="${escapeLabel(value)}"`
  }
  return text
}

/** A sample of a counter or gauge. */
export function formatSample(name: string, labels: Labels, value: number): string {
  return `${name}${formatLabels(labels)} ${formatValue(value)}\n`
}

/**
 * Buckets are cumulative and in seconds. `ends`: their `le`, in the form that the format wants;
 * `after`: what it has behind the value of a bucket.
 */
export function formatHistogram(
  name: string,
  labels: Labels,
  histogram: Histogram,
  ends: readonly string[],
  after: (bucket: number) => string,
): string {
  const { atMost, count, sumMs } = histogram.totals()
  const own = labelText(labels)
  const bucket = own === '' ? `${name}_bucket{le="` : `${name}_bucket{${own},le="`
  let text = ''
  for (let i = 0; i < ends.length; i++) text += `${bucket}${ends[i]}"} ${atMost[i] ?? count}${after(i)}\n`
  const all = own === '' ? '' : `{${own}}`
  return `${text}${name}_sum${all} ${formatValue(sumMs / 1_000)}\n${name}_count${all} ${count}\n`
}

const ENDS = [...BOUNDARIES_MS.map((boundary) => String(boundary / 1_000)), '+Inf']
const nothing = (): string => ''
const ODD = /[\\\n"]/

export function escapeLabel(value: string): string {
  if (!ODD.test(value)) return value
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')
}

export function formatValue(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf'
  if (value === Number.NEGATIVE_INFINITY) return '-Inf'
  return String(value)
}
