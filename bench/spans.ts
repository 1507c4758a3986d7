/**
 * Measures the cost of spans to a client: without an OpenTelemetry SDK, and with one that records
 * none, 1 % or all calls. `node bench/spans.ts [--quick] [--json]`, after `npm run build`.
 */
import { clientFeature } from './client-feature.ts'
import { type Options, type Report, runQuestions } from './harness.ts'

const WAY = { way: 'inmesh http(), own trace' } as const

export function spans(options: Options): Promise<Report> {
  const feature = {
    title: 'What spans cost a client',
    figure: 'spans',
    variants: [
      ['no SDK', WAY],
      ['0 % recorded', { ...WAY, recorded: 0 }],
      ['1 % recorded', { ...WAY, recorded: 0.01 }],
      ['100 % recorded', { ...WAY, recorded: 1 }],
    ],
  } as const
  return clientFeature(feature, options)
}

if (import.meta.main) await runQuestions([spans])
