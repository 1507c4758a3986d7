/**
 * Measures the memory of connections that rest: 1,000 endpoints that a process has called once,
 * over mTLS. `node bench/idle-endpoints.ts [--quick] [--json] [--transport auto|http1]`, after `npm
 * run build`.
 */
import { type Options, type Report, round, runQuestions, Subject, single, withSubjects } from './harness.ts'
import type { ConnectJob, IdleJob, Memory } from './idle-process.ts'
import { applyPolicy, credentialsFor, startRegistryProcess } from './testbed.ts'

const ENDPOINTS = 1_000
const CROWD = 'crowd'
/** Called before, so that what is made once or grows by steps does not count. */
const FIRST = 'first'
/** In a process, which may open as many files. */
const SERVERS = 500
const FILE = new URL('./idle-process.ts', import.meta.url)
const MESH = 'inmesh'
const UNDICI = 'undici Agent'
const BARE = 'tls.connect'

export async function idleEndpoints({ transport }: Options): Promise<Report> {
  return withSubjects(async (keep) => {
    const registry = keep(await startRegistryProcess({ dev: true, lease: '10m' }))
    const { url } = registry.ready
    const start = async (job: IdleJob): Promise<Subject> =>
      keep(await Subject.start(FILE, job, { execArgv: ['--expose-gc'] }))
    for (const service of [CROWD, FIRST]) await applyPolicy(registry.ready, { service, balancer: 'round-robin' })
    const first = await start({ role: 'servers', registry: url, service: FIRST, count: SERVERS })
    const crowd: Subject[] = []
    while (crowd.length < ENDPOINTS / SERVERS) {
      crowd.push(await start({ role: 'servers', registry: url, service: CROWD, count: SERVERS }))
    }
    const portsOf = (subjects: readonly Subject[]): number[] =>
      subjects.flatMap(({ ready }) => (ready as { ports: number[] }).ports)
    const connections = async (): Promise<number> => {
      const counts = await Promise.all(crowd.map((one) => one.ask<number>('connections')))
      return counts.reduce((sum, count) => sum + count, 0)
    }
    const measure = async (job: IdleJob): Promise<Memory & { connections: number }> => {
      const client = await start(job)
      const connect = (service: string, subjects: readonly Subject[]): Promise<void> =>
        client.ask('connect', { service, ports: portsOf(subjects) } satisfies ConnectJob)
      await connect(FIRST, [first])
      const before = await client.ask<Memory>('rest')
      await connect(CROWD, crowd)
      const open = await connections()
      const after = await client.ask<Memory>('rest')
      const each = (of: keyof Memory): number => Math.round((after[of] - before[of]) / ENDPOINTS)
      if ((await connections()) < open) throw new Error('connections have closed before they were measured')
      await client.close()
      return { connections: open, heap: each('heap'), external: each('external'), resident: each('resident') }
    }
    const credentials = await credentialsFor(registry.ready, 'checkout')
    const found = new Map([
      [MESH, await measure({ role: 'mesh', registry: url, services: [FIRST, CROWD] })],
      [UNDICI, await measure({ role: 'undici', credentials })],
      [BARE, await measure({ role: 'tls', credentials })],
    ])
    const { heap, external, resident } = found.get(MESH)!
    const floor = found.get(BARE)!.resident
    return {
      title: `What each of ${ENDPOINTS} connected endpoints costs while it rests (mTLS, ${transport})`,
      rows: [...found].map(([variant, one]) => ({
        variant,
        connections: one.connections,
        'heap kB': round(one.heap / 1_000, 1),
        'external kB': round(one.external / 1_000, 1),
        'resident kB': round(one.resident / 1_000, 1),
      })),
      targets: [
        {
          what: `bytes on the heap of each of ${ENDPOINTS} connected endpoints`,
          found: single(heap),
          wanted: { atMost: 20_480 },
        },
      ],
      figures: {
        endpoints: {
          bytesConnected: heap,
          bytesConnectedExternal: external,
          bytesConnectedResident: resident,
          bytesOfBareTls: floor,
        },
      },
    }
  })
}

if (import.meta.main) await runQuestions([idleEndpoints])
