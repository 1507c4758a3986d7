/**
 * Compares what a call costs client and server together, and the server alone, by what carries it.
 * mTLS. `node bench/http-pair.ts [--quick] [--json] [--transport auto|http1]`, after `npm run
 * build`.
 */

import type { TransportPreference } from '../src/core/transport.ts'
import {
  COMPILED_CALLS,
  figure,
  type Measured,
  measure,
  type Options,
  type Pair,
  type Plan,
  type Report,
  ratio,
  round,
  rowsOf,
  runQuestions,
  type Target,
  variantOf,
  withSubjects,
} from './harness.ts'
import { startClient } from './http-client.ts'
import { credentialsFor, startRegistryProcess, startServer } from './testbed.ts'

const BARE = 'undici, node:https'
const HTTP1 = 'http(), mesh.serve, http1'
const AUTO = 'http(), mesh.serve, auto'

const CASES = [
  { concurrency: 16, apart: false, name: '' },
  { concurrency: 1, apart: false, name: '1' },
  { concurrency: 64, apart: false, name: '64' },
  { concurrency: 64, apart: true, name: 'Apart64' },
] as const

export async function httpPair({ quick, transport }: Options): Promise<Report> {
  return withSubjects(async (keep) => {
    const registry = keep(await startRegistryProcess({ dev: true }))
    const { url } = registry.ready
    const own = await credentialsFor(registry.ready, 'inventory')
    const credentials = await credentialsFor(registry.ready, 'checkout')
    const twins = quick ? 2 : 3
    const bare = async (): Promise<Pair> => {
      const subject = keep(await startServer({ registry: url, doors: [{ kind: 'bare', credentials: own }] }))
      const { ports } = subject.ready
      return { subject, driver: keep(await startClient({ way: 'undici.request', ports, credentials })) }
    }
    let made = 0
    const mesh = async (by: TransportPreference): Promise<Pair> => {
      // Another service for each, so that a client calls its server alone.
      const service = `inventory-${++made}`
      const doors = [{ kind: 'mesh', service, mode: 'strict' }] as const
      const subject = keep(await startServer({ registry: url, transport: by, doors }))
      const job = { way: 'inmesh http()', ports: [], registry: url, service, transport: by } as const
      return { subject, driver: keep(await startClient(job)) }
    }
    const variants = [await variantOf(BARE, twins, bare), await variantOf(HTTP1, twins, () => mesh('http1'))]
    if (transport === 'auto') variants.push(await variantOf(AUTO, twins, () => mesh('auto')))
    const ours = transport === 'auto' ? AUTO : HTTP1

    const rows: Report['rows'][number][] = []
    const all = new Map<string, Measured>()
    for (const { concurrency, apart, name } of CASES) {
      const calls = concurrency === 1 ? 1_000 : quick ? 2_500 : 4_000
      const plan: Plan = { calls, rounds: quick ? 8 : 15, warmUp: COMPILED_CALLS, concurrency, apart }
      const measured = await measure(variants, plan)
      all.set(name, measured)
      rows.push(...rowsOf(measured, BARE).map((row) => withBoth(row, measured, concurrency, apart)))
    }
    const together = (name: string): number => ratio(all.get(name)!, ours, BARE, 'bothUs').median
    const server = (name: string) => ratio(all.get(name)!, ours, HTTP1)
    const targets: Target[] = [
      {
        what: 'client and server over undici + node:https, 16 at once',
        found: ratio(all.get('')!, ours, BARE, 'bothUs'),
        wanted: { atMost: 0.55 },
      },
      ...CASES.filter(() => ours !== HTTP1).map(({ name, concurrency, apart }) => ({
        what: `the server over itself with http1, ${concurrency} at once${apart ? ', answers 5 ms apart' : ''}`,
        found: server(name),
        wanted: { atMost: 1 },
      })),
    ]
    return {
      title: 'What a call costs its client and its server together, and its server alone (mTLS)',
      rows,
      targets,
      figures: {
        ratios: {
          clientAndServerMtls: together(''),
          clientAndServerMtls1: together('1'),
          clientAndServerMtls64: together('64'),
          serverOverHttp1Mtls: server('').median,
          serverOverHttp1Mtls1: server('1').median,
          serverOverHttp1Mtls64: server('64').median,
          serverOverHttp1MtlsApart64: server('Apart64').median,
        },
      },
    }
  })
}

/** The measured process is the server. */
function withBoth(
  row: Readonly<Record<string, string | number>>,
  measured: Measured,
  concurrency: number,
  apart: boolean,
): Record<string, string | number> {
  const { variant, 'CPU µs/call': server, 'half within': within, [`over ${BARE}`]: over, ...rest } = row
  const { bothUs } = measured.get(String(variant))!
  return {
    'at once': concurrency,
    answers: apart ? '5 ms apart' : 'at once',
    variant: variant!,
    'server µs/call': server!,
    'half within': within!,
    'server over bare': over!,
    'both µs/call': round(figure(bothUs).median, 1),
    'both over bare': round(ratio(measured, String(variant), BARE, 'bothUs').median, 2),
    ...rest,
  }
}

if (import.meta.main) await runQuestions([httpPair])
