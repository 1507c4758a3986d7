/** Options of `mesh.metrics()`. */
import { check, fields, oneOf, withDefault } from '../options/fields.ts'

/** In which format metrics are given. */
export interface MetricsOptions {
  /** OpenMetrics has exemplars; Prometheus reads both. @defaultValue `'prometheus'` */
  readonly format?: 'prometheus' | 'openmetrics'
}

const FIELDS = fields({ format: withDefault(oneOf(['prometheus', 'openmetrics']), 'prometheus') })

export function resolveMetricsOptions(options?: MetricsOptions) {
  return check(FIELDS, options, 'mesh.metrics')
}
