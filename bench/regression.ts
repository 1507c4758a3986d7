/**
 * Compares the CPU time of client and server in two built checkouts, in one run: `node
 * bench/regression.ts <other checkout> [client] [server] [--quick]`.
 */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ClientJob } from './client-process.ts'
import { measure, type Pair, type Plan, print, ratio, rowsOf, Subject, variantOf, withSubjects } from './harness.ts'
import type { ServerJob, ServerReady } from './server-process.ts'
import { credentialsFor, startRegistryProcess, startServer } from './testbed.ts'

const args = process.argv.slice(2).filter((each) => !each.startsWith('--'))
const [other = '.', ...sides] = args
const wanted = (side: string): boolean => sides.length === 0 || sides.includes(side)
const rounds = process.argv.includes('--quick') ? 25 : 75
const BASE = 'before'
const HERE = new URL('../', import.meta.url)
const CHECKOUTS = [
  [BASE, pathToFileURL(`${resolve(other)}/`)],
  ['now', HERE],
] as const

function startIn(checkout: URL, file: string, job: ClientJob | ServerJob): Promise<Subject> {
  return Subject.start(new URL(`bench/${file}.ts`, checkout), job)
}

type Start = (checkout: URL) => Promise<Pair>

async function compare(title: string, startOne: Start, plan: Plan): Promise<void> {
  const variants = CHECKOUTS.map(([name, checkout]) => variantOf(name, 5, () => startOne(checkout)))
  const measured = await measure(await Promise.all(variants), plan)
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
      const job: ClientJob = { way: 'inmesh http()', ports, registry: url, service }
      const start: Start = async (checkout) => ({ subject: keep(await startIn(checkout, 'client-process', job)) })
      await compare(`client, ${service}`, start, { calls: 4_000, rounds, warmUp: 12_000, concurrency: 16 })
    }
  }
  if (wanted('server')) {
    const credentials = await credentialsFor(registry.ready, 'checkout')
    for (const mode of ['plaintext', 'strict'] as const) {
      const job: ServerJob = { registry: url, doors: [{ kind: 'mesh', service: 'served', mode }] }
      const start: Start = async (checkout) => {
        const subject = keep(await startIn(checkout, 'server-process', job))
        const { ports } = subject.ready as ServerReady
        const secure = mode === 'strict' && { credentials }
        const driver = await startIn(HERE, 'client-process', { way: 'undici dispatch', ports, ...secure })
        return { subject, driver: keep(driver) }
      }
      await compare(`server, ${mode}`, start, { calls: 4_000, rounds, warmUp: 20_000, concurrency: 16 })
    }
  }
})
