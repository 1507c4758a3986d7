/**
 * Compares the cost of a unary gRPC call through the mesh with plain grpc-js, over plaintext and
 * mTLS: `npm run bench:grpc -- --json`. Plaintext decides, because there the mesh's share is
 * largest.
 */

import type { GrpcDoor, GrpcJob } from './grpc-process.ts'
import {
  measure,
  type Options,
  type Plan,
  type Report,
  ratio,
  round,
  rowsOf,
  runQuestions,
  Subject,
  type Variant,
  variantOf,
  withSubjects,
} from './harness.ts'
import { credentialsFor, startRegistryProcess } from './testbed.ts'

const FILE = new URL('./grpc-process.ts', import.meta.url)
const PLAIN = 'plain'
const MESH = 'mesh'

export async function grpc({ quick }: Options): Promise<Report> {
  return withSubjects(async (keep) => {
    const registry = keep(await startRegistryProcess({ dev: true }))
    const { url } = registry.ready
    const credentials = await credentialsFor(registry.ready, 'checkout')
    const start = async (job: GrpcJob): Promise<Subject> => keep(await Subject.start(FILE, job))
    const plan: Plan = quick
      ? { calls: 3_000, rounds: 9, warmUp: 8_000, concurrency: 16 }
      : { calls: 4_000, rounds: 21, warmUp: 12_000, concurrency: 16 }
    const twins = quick ? 2 : 3
    const rows: Report['rows'][number][] = []

    // The client's side: three servers in the mesh, which plain clients may call as well.
    const doors: readonly GrpcDoor[] = [
      { kind: 'mesh', service: 'inventory', mode: 'plaintext' },
      { kind: 'mesh', service: 'inventory-mtls', mode: 'strict' },
    ]
    const servers = await Promise.all([1, 2, 3].map(() => start({ role: 'server', registry: url, doors })))
    const portsOf = (servers: readonly Subject[], door: number): number[] =>
      servers.map(({ ready }) => (ready as { ports: number[] }).ports[door]!)
    const client = (way: Extract<GrpcJob, { role: 'client' }>['way'], secure: boolean): Promise<Variant> =>
      variantOf(way, twins, async () => {
        const subject = await start({
          role: 'client',
          way,
          ports: portsOf(servers, secure ? 1 : 0),
          registry: url,
          service: secure ? 'inventory-mtls' : 'inventory',
          ...(secure && { credentials }),
        })
        return { subject }
      })
    const clients = await Promise.all([client(PLAIN, false), client(MESH, false), client('bare', false)])
    const measuredClients = await measure(clients, plan)
    rows.push(...rowsOf(measuredClients, PLAIN).map((row) => ({ side: 'client', ...row })))
    const secureClients = await measure(await Promise.all([client(PLAIN, true), client(MESH, true)]), plan)
    rows.push(...rowsOf(secureClients, PLAIN).map((row) => ({ side: 'client, mTLS', ...row })))

    // The server's side: each in a separate process, called by a plain client.
    const server = (door: GrpcDoor): Promise<Variant> =>
      variantOf(door.kind === 'mesh' ? MESH : PLAIN, twins, async () => {
        const subject = await start({ role: 'server', registry: url, doors: [door] })
        const secure = door.kind === 'mesh' ? door.mode === 'strict' : door.credentials !== undefined
        const driver = await start({
          role: 'client',
          way: 'plain',
          ports: portsOf([subject], 0),
          registry: url,
          service: 'none',
          ...(secure && { credentials }),
        })
        return { subject, driver }
      })
    const own = await credentialsFor(registry.ready, 'inventory')
    const measuredServers = await measure(
      [await server({ kind: 'bare' }), await server({ kind: 'mesh', service: 'served', mode: 'plaintext' })],
      plan,
    )
    rows.push(...rowsOf(measuredServers, PLAIN).map((row) => ({ side: 'server', ...row })))
    const secureServers = await measure(
      [
        await server({ kind: 'bare', credentials: own }),
        await server({ kind: 'mesh', service: 'served-mtls', mode: 'strict' }),
      ],
      plan,
    )
    rows.push(...rowsOf(secureServers, PLAIN).map((row) => ({ side: 'server, mTLS', ...row })))

    const clientOverPlain = ratio(measuredClients, MESH, PLAIN)
    const serverOverPlain = ratio(measuredServers, MESH, PLAIN)
    return {
      title: 'What a unary gRPC call costs through the mesh (16 at once)',
      rows,
      targets: [
        { what: 'client over plain grpc-js', found: clientOverPlain, wanted: { atMost: 1.05 } },
        { what: 'server over plain grpc-js', found: serverOverPlain, wanted: { atMost: 1.05 } },
      ],
      figures: {
        clientOverPlain: round(clientOverPlain.median, 3),
        serverOverPlain: round(serverOverPlain.median, 3),
        clientOverBare: round(ratio(measuredClients, MESH, 'bare').median, 3),
        mtls: {
          clientOverPlain: round(ratio(secureClients, MESH, PLAIN).median, 3),
          serverOverPlain: round(ratio(secureServers, MESH, PLAIN).median, 3),
        },
      },
    }
  })
}

if (import.meta.main) await runQuestions([grpc])
