/**
 * Measures the cost of spans to a client: without an OpenTelemetry SDK, and with one that records
 * none, 1 % or all calls. `node bench/spans.ts [--quick] [--json]`, after `npm run build`.
 */

import { measure, type Options, type Report, ratio, rowsOf, runQuestions, variantOf, withSubjects } from './harness.ts'
import { startClient } from './http-client.ts'
import { startRegistryProcess, startServer } from './testbed.ts'

const SERVICE = 'inventory'
const BASE = 'no SDK'
/** Shares of the calls that are recorded. */
const RECORDED: readonly (readonly [string, number | undefined])[] = [
  [BASE, undefined],
  ['0 % recorded', 0],
  ['1 % recorded', 0.01],
  ['100 % recorded', 1],
]

export async function spans({ quick }: Options): Promise<Report> {
  return withSubjects(async (keep) => {
    const { ready } = keep(await startRegistryProcess({ dev: true }))
    const doors = [{ kind: 'mesh', service: SERVICE, mode: 'plaintext' }] as const
    const servers = await Promise.all(
      [1, 2, 3].map(async () => keep(await startServer({ registry: ready.url, doors }))),
    )
    const ports = servers.flatMap((server) => server.ready.ports)
    const variants = RECORDED.map(([name, recorded]) =>
      variantOf(name, quick ? 1 : 3, async () => {
        const share = recorded === undefined ? {} : { recorded }
        const job = { way: 'inmesh http(), own trace', ports, registry: ready.url, service: SERVICE, ...share } as const
        return { subject: keep(await startClient(job)) }
      }),
    )
    const plan = quick
      ? { calls: 2_000, rounds: 6, warmUp: 4_000, concurrency: 16 }
      : { calls: 4_000, rounds: 18, warmUp: 12_000, concurrency: 16 }
    const measured = await measure(await Promise.all(variants), plan)
    const overNone = RECORDED.map(([name]) => [name, ratio(measured, name, BASE).median] as const)
    return {
      title: 'What spans cost a client',
      rows: rowsOf(measured, BASE),
      targets: [],
      figures: { spans: Object.fromEntries(overNone) },
    }
  })
}

if (import.meta.main) await runQuestions([spans])
