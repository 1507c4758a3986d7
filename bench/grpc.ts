/**
 * Compares the cost of a unary gRPC call through the mesh with plain grpc-js, over plaintext and
 * mTLS: `npm run bench:grpc -- [--quick] [--json] [--transport auto|http1]`.
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
/** A server in the mesh that a plain client calls, over HTTP/2. */
const FOREIGN = 'mesh, plain client'
const ONE = { concurrency: 1, calls: 1_500 } as const

export async function grpc({ quick, transport }: Options): Promise<Report> {
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
    const secure = await Promise.all([client(PLAIN, true), client(MESH, true)])
    const secureClients = await measure(secure, plan)
    rows.push(...rowsOf(secureClients, PLAIN).map((row) => ({ side: 'client, mTLS', ...row })))
    const alone = await measure(secure, { ...plan, ...ONE })
    rows.push(...rowsOf(alone, PLAIN).map((row) => ({ side: 'client, mTLS, 1 at once', ...row })))

    // The server's side: each in a separate process, called by a client of its kind.
    let made = 0
    const server = (kind: 'bare' | 'mesh', secure: boolean, way: 'plain' | 'mesh' = 'plain'): Promise<Variant> =>
      variantOf(kind === 'bare' ? PLAIN : way === 'plain' ? FOREIGN : MESH, twins, async () => {
        // Another service for each, so that a client calls its server alone.
        const service = `served-${++made}`
        const door: GrpcDoor =
          kind === 'bare'
            ? { kind, ...(secure && { credentials: own }) }
            : { kind, service, mode: secure ? 'strict' : 'plaintext' }
        const subject = await start({ role: 'server', registry: url, doors: [door] })
        const ports = portsOf([subject], 0)
        const job = { role: 'client', way, ports, registry: url, service } as const
        return { subject, driver: await start({ ...job, ...(secure && { credentials }) }) }
      })
    const own = await credentialsFor(registry.ready, 'inventory')
    const served = await Promise.all([server('bare', false), server('mesh', false, 'mesh'), server('mesh', false)])
    const measuredServers = await measure(served, plan)
    rows.push(...rowsOf(measuredServers, PLAIN).map((row) => ({ side: 'server', ...row })))
    const secured = await Promise.all([server('bare', true), server('mesh', true, 'mesh'), server('mesh', true)])
    const secureServers = await measure(secured, plan)
    rows.push(...rowsOf(secureServers, PLAIN).map((row) => ({ side: 'server, mTLS', ...row })))
    const servedAlone = await measure(secured.slice(0, 2), { ...plan, ...ONE })
    rows.push(...rowsOf(servedAlone, PLAIN).map((row) => ({ side: 'server, mTLS, 1 at once', ...row })))

    const clientOverPlain = ratio(measuredClients, MESH, PLAIN)
    const serverOverPlain = ratio(measuredServers, MESH, PLAIN)
    const mtls = {
      client: ratio(secureClients, MESH, PLAIN),
      server: ratio(secureServers, MESH, PLAIN),
    }
    const atMost = transport === 'auto' ? 0.4 : 1.05
    return {
      title: 'What a unary gRPC call costs through the mesh (16 at once where nothing else is said)',
      rows,
      targets: [
        { what: 'client over plain grpc-js', found: clientOverPlain, wanted: { atMost: 1.05 } },
        { what: 'server over plain grpc-js', found: serverOverPlain, wanted: { atMost: 1.05 } },
        { what: 'client over plain grpc-js, mTLS', found: mtls.client, wanted: { atMost } },
        { what: 'server over plain grpc-js, mTLS', found: mtls.server, wanted: { atMost } },
        {
          what: 'server over plain grpc-js, mTLS, called by plain grpc-js',
          found: ratio(secureServers, FOREIGN, PLAIN),
          wanted: { atMost: 1.05 },
        },
      ],
      figures: {
        clientOverPlain: round(clientOverPlain.median, 3),
        serverOverPlain: round(serverOverPlain.median, 3),
        clientOverBare: round(ratio(measuredClients, MESH, 'bare').median, 3),
        mtls: {
          clientOverPlain: round(mtls.client.median, 3),
          serverOverPlain: round(mtls.server.median, 3),
          clientOverPlain1: round(ratio(alone, MESH, PLAIN).median, 3),
          serverOverPlain1: round(ratio(servedAlone, MESH, PLAIN).median, 3),
          serverOverPlainForeign: round(ratio(secureServers, FOREIGN, PLAIN).median, 3),
        },
      },
    }
  })
}

if (import.meta.main) await runQuestions([grpc])
