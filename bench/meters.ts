/**
 * Measures the cost of OpenTelemetry metrics to a client: without a MeterProvider, and with one
 * that is read each second. `node bench/meters.ts [--quick] [--json]`, after `npm run build`.
 */
import { measure, type Options, type Report, ratio, rowsOf, runQuestions, variantOf, withSubjects } from './harness.ts'
import { startClient } from './http-client.ts'
import { startRegistryProcess, startServer } from './testbed.ts'

const SERVICE = 'inventory'
const BASE = 'no MeterProvider'
const METERED = 'MeterProvider of sdk-metrics'

export async function meters({ quick }: Options): Promise<Report> {
  return withSubjects(async (keep) => {
    const { ready } = keep(await startRegistryProcess({ dev: true }))
    const doors = [{ kind: 'mesh', service: SERVICE, mode: 'plaintext' }] as const
    const servers = await Promise.all(
      [1, 2, 3].map(async () => keep(await startServer({ registry: ready.url, doors }))),
    )
    const ports = servers.flatMap((server) => server.ready.ports)
    const variants = [BASE, METERED].map((name) =>
      variantOf(name, quick ? 1 : 3, async () => {
        const job = { ports, registry: ready.url, service: SERVICE, metered: name === METERED }
        return { subject: keep(await startClient({ way: 'inmesh http(), own trace', ...job })) }
      }),
    )
    const plan = quick
      ? { calls: 2_000, rounds: 6, warmUp: 4_000, concurrency: 16 }
      : { calls: 4_000, rounds: 18, warmUp: 12_000, concurrency: 16 }
    const measured = await measure(await Promise.all(variants), plan)
    return {
      title: 'What OpenTelemetry metrics cost a client',
      rows: rowsOf(measured, BASE),
      targets: [],
      figures: { meters: { [METERED]: ratio(measured, METERED, BASE).median } },
    }
  })
}

if (import.meta.main) await runQuestions([meters])
