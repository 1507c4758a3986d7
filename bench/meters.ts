/**
 * Measures the cost of OpenTelemetry metrics to a client: without a MeterProvider, and with one
 * that is read each second. `node bench/meters.ts [--quick] [--json]`, after `npm run build`.
 */
import { clientFeature } from './client-feature.ts'
import { type Options, type Report, runQuestions } from './harness.ts'

const WAY = { way: 'inmesh http(), own trace' } as const

export function meters(options: Options): Promise<Report> {
  const feature = {
    title: 'What OpenTelemetry metrics cost a client',
    figure: 'meters',
    variants: [
      ['no MeterProvider', { ...WAY, metered: false }],
      ['MeterProvider of sdk-metrics', { ...WAY, metered: true }],
    ],
  } as const
  return clientFeature(feature, options)
}

if (import.meta.main) await runQuestions([meters])
