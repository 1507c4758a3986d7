/** Measures what a feature of a client costs: the same calls without it and in its variants. */
import { measure, type Options, type Report, ratio, rowsOf, variantOf, withSubjects } from './harness.ts'
import { startClient } from './http-client.ts'
import { startRegistryProcess, startServer } from './testbed.ts'

const SERVICE = 'inventory'

type Job = Pick<Parameters<typeof startClient>[0], 'way' | 'logged' | 'recorded' | 'metered'>

export interface ClientFeature {
  readonly title: string
  /** The key of its figures. */
  readonly figure: string
  /** By name; the first is what the others are compared with. */
  readonly variants: readonly (readonly [name: string, job: Job])[]
  /** @defaultValue 6 */
  readonly quickRounds?: number
}

export async function clientFeature(
  { title, figure, variants, quickRounds = 6 }: ClientFeature,
  { quick }: Options,
): Promise<Report> {
  const base = variants[0]![0]
  return withSubjects(async (keep) => {
    const { ready } = keep(await startRegistryProcess({ dev: true }))
    const doors = [{ kind: 'mesh', service: SERVICE, mode: 'plaintext' }] as const
    const servers = await Promise.all(
      [1, 2, 3].map(async () => keep(await startServer({ registry: ready.url, doors }))),
    )
    const ports = servers.flatMap((server) => server.ready.ports)
    const clients = variants.map(([name, job]) =>
      variantOf(name, quick ? 1 : 3, async () => {
        return { subject: keep(await startClient({ ports, registry: ready.url, service: SERVICE, ...job })) }
      }),
    )
    const plan = quick
      ? { calls: 2_000, rounds: quickRounds, warmUp: 4_000, concurrency: 16 }
      : { calls: 4_000, rounds: 18, warmUp: 12_000, concurrency: 16 }
    const measured = await measure(await Promise.all(clients), plan)
    const overBase = variants.map(([name]) => [name, ratio(measured, name, base).median] as const)
    return { title, rows: rowsOf(measured, base), targets: [], figures: { [figure]: Object.fromEntries(overBase) } }
  })
}
