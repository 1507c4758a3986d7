/**
 * Measures the cost of the access log to a client: without a logger, and with pino for failures
 * only, 1 % or all calls. `node bench/access-log.ts [--quick] [--json]`, after `npm run build`.
 */
import { clientFeature } from './client-feature.ts'
import { type Options, type Report, runQuestions } from './harness.ts'

const WAY = { way: 'inmesh http()' } as const

export function accessLog(options: Options): Promise<Report> {
  const feature = {
    title: 'What the access log costs a client',
    figure: 'accessLog',
    variants: [
      ['no logger', WAY],
      ['failures only', { ...WAY, logged: 0 }],
      ['1 % logged', { ...WAY, logged: 0.01 }],
      ['100 % logged', { ...WAY, logged: 1 }],
    ],
    quickRounds: 12,
  } as const
  return clientFeature(feature, options)
}

if (import.meta.main) await runQuestions([accessLog])
