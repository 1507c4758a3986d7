/**
 * Measures the cost of the access log to a client: without a logger, and with pino for failures
 * only, 1 % or all calls. `node bench/access-log.ts [--quick] [--json]`, after `npm run build`.
 */

import { measure, type Options, type Report, ratio, rowsOf, runQuestions, variantOf, withSubjects } from './harness.ts'
import { startClient } from './http-client.ts'
import { startRegistryProcess, startServer } from './testbed.ts'

const SERVICE = 'inventory'
const BASE = 'no logger'
/** Shares of the calls that have a line. */
const LOGGED: readonly (readonly [string, number | undefined])[] = [
  [BASE, undefined],
  ['failures only', 0],
  ['1 % logged', 0.01],
  ['100 % logged', 1],
]

export async function accessLog({ quick }: Options): Promise<Report> {
  return withSubjects(async (keep) => {
    const { ready } = keep(await startRegistryProcess({ dev: true }))
    const doors = [{ kind: 'mesh', service: SERVICE, mode: 'plaintext' }] as const
    const servers = await Promise.all(
      [1, 2, 3].map(async () => keep(await startServer({ registry: ready.url, doors }))),
    )
    const ports = servers.flatMap((server) => server.ready.ports)
    const variants = LOGGED.map(([name, logged]) =>
      variantOf(name, quick ? 1 : 3, async () => {
        const share = logged === undefined ? {} : { logged }
        const job = { way: 'inmesh http()', ports, registry: ready.url, service: SERVICE, ...share } as const
        return { subject: keep(await startClient(job)) }
      }),
    )
    const plan = quick
      ? { calls: 2_000, rounds: 12, warmUp: 4_000, concurrency: 16 }
      : { calls: 4_000, rounds: 18, warmUp: 12_000, concurrency: 16 }
    const measured = await measure(await Promise.all(variants), plan)
    const overNone = LOGGED.map(([name]) => [name, ratio(measured, name, BASE).median] as const)
    return {
      title: 'What the access log costs a client',
      rows: rowsOf(measured, BASE),
      targets: [],
      figures: { accessLog: Object.fromEntries(overNone) },
    }
  })
}

if (import.meta.main) await runQuestions([accessLog])
