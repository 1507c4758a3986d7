/**
 * Is it cheaper than before? The client and the server of this checkout against those of another, both built, in one run:
 * `node bench/against.ts <other checkout> [client] [server] [--quick]`.
 */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ClientJob } from './client-process.ts'
import { credentialsFor, startRegistryProcess, startServer } from './ground.ts'
import { measure, type Plan, print, ratio, rowsOf, Subject, type Variant, withSubjects } from './harness.ts'
import type { ServerJob, ServerReady } from './server-process.ts'

const args = process.argv.slice(2).filter((each) => !each.startsWith('--'))
const [other = '.', ...sides] = args
const wanted = (side: string): boolean => sides.length === 0 || sides.includes(side)
const rounds = process.argv.includes('--quick') ? 11 : 31
const BASE = 'before'
const HERE = new URL('../', import.meta.url)
const CHECKOUTS = [
  [BASE, pathToFileURL(`${resolve(other)}/`)],
  ['now', HERE],
] as const

function start(checkout: URL, file: string, job: ClientJob | ServerJob): Promise<Subject> {
  return Subject.start(new URL(`bench/${file}.ts`, checkout), job)
}

async function show(title: string, variants: readonly Variant[], plan: Plan): Promise<void> {
  const measured = await measure(variants, plan)
  const found = ratio(measured, 'now', BASE)
  print({
    title,
    rows: rowsOf(measured, BASE),
    targets: [{ what: 'now over before', found, wanted: { atMost: 1 } }],
    figures: {},
  })
}

await withSubjects(async (keep) => {
  const registry = keep(await startRegistryProcess({ dev: true }))
  const { url } = registry.ready
  if (wanted('client')) {
    const servers = await Promise.all(
      [1, 2, 3].map(async () =>
        keep(
          await startServer({
            registry: url,
            doors: [
              { kind: 'mesh', service: 'inventory', mode: 'plaintext' },
              { kind: 'mesh', service: 'inventory-mtls', mode: 'strict' },
            ],
          }),
        ),
      ),
    )
    const ports = servers.map(({ ready }) => ready.ports[0]!)
    for (const service of ['inventory', 'inventory-mtls']) {
      const variants = CHECKOUTS.map(async ([name, checkout]) => ({
        name,
        subject: keep(await start(checkout, 'client-process', { way: 'inmesh http()', ports, registry: url, service })),
      }))
      const plan = { calls: 5_000, rounds, warmUp: 12_000, concurrency: 16 }
      await show(`client, ${service}`, await Promise.all(variants), plan)
    }
  }
  if (wanted('server')) {
    const credentials = await credentialsFor(registry.ready, 'checkout')
    for (const mode of ['plaintext', 'strict'] as const) {
      const variants = CHECKOUTS.map(async ([name, checkout]) => {
        const job: ServerJob = { registry: url, doors: [{ kind: 'mesh', service: 'served', mode }] }
        const subject = keep(await start(checkout, 'server-process', job))
        const { ports } = subject.ready as ServerReady
        const secure = mode === 'strict' && { credentials }
        return {
          name,
          subject,
          driver: keep(await start(HERE, 'client-process', { way: 'undici dispatch', ports, ...secure })),
        }
      })
      await show(`server, ${mode}`, await Promise.all(variants), {
        calls: 8_000,
        rounds,
        warmUp: 30_000,
        concurrency: 16,
      })
    }
  }
})
