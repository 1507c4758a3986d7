/** What a metric is defined by, and how definitions are written. */

export type MetricKind = 'counter' | 'gauge' | 'histogram'

/** What names one metric and documents it. */
export interface MetricDefinition {
  /** As Prometheus wants it: counters end in `_total`, units are part of the name. */
  readonly name: string
  readonly kind: MetricKind
  /**
   * In UCUM, as OpenTelemetry writes it: `s`, `By`, or what is counted: `{call}`. Exporters to
   * Prometheus would append `_ratio` for `1`.
   */
  readonly unit: string
  /** In the order of their values. */
  readonly labels: readonly string[]
  /** Labels that some series lack. */
  readonly optional?: readonly string[]
  /** One line, for scrapers and for the documentation. */
  readonly help: string
}

type Kinded<K extends MetricKind> = MetricDefinition & { readonly kind: K }
export type CounterDefinition = Kinded<'counter'>
export type GaugeDefinition = Kinded<'gauge'>
export type HistogramDefinition = Kinded<'histogram'>

/** Labels are written in one text, `?` after those that some series lack. */
function define<K extends MetricKind>(kind: K, name: string, unit: string, labels: string, help: string): Kinded<K> {
  const all = labels === '' ? [] : labels.split(' ')
  return Object.freeze({
    name,
    kind,
    unit,
    labels: Object.freeze(all.map((label) => label.replace('?', ''))),
    optional: Object.freeze(all.filter((label) => label.endsWith('?')).map((label) => label.slice(0, -1))),
    help,
  })
}

export const counter = (name: string, unit: string, labels: string, help: string) =>
  define('counter', `${name}_total`, unit, labels, help)
export const gauge = (name: string, unit: string, labels: string, help: string) =>
  define('gauge', name, unit, labels, help)
export const seconds = (name: string, labels: string, help: string) =>
  define('histogram', `${name}_seconds`, 's', labels, help)
