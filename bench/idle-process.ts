/**
 * Processes of `idle-endpoints.ts`: many servers of one service in one process, and a client that
 * calls each of them once and then rests.
 */
import { once } from 'node:events'
import { connect, createSecureContext, type TLSSocket } from 'node:tls'
import { joinMesh } from 'inmesh'
import { answer, givenJob } from './measured-process.ts'
import type { MeshCredentials } from './testbed.ts'

export type IdleJob =
  | { readonly role: 'servers'; readonly registry: string; readonly service: string; readonly count: number }
  | { readonly role: 'mesh'; readonly registry: string; readonly services: readonly string[] }
  | { readonly role: 'undici' | 'tls'; readonly credentials: MeshCredentials }

/** What a client is asked to do. */
export interface ConnectJob {
  readonly service: string
  readonly ports: readonly number[]
}

/** In bytes, after everything that is not reachable was collected. */
export interface Memory {
  /** Of JavaScript, with its buffers. */
  readonly heap: number
  /** What Node counts outside of it, such as TLS sessions. */
  readonly external: number
  readonly resident: number
}

/** The registry lets a session register 100. */
const PER_SESSION = 100
const AT_ONCE = 16
/** Sockets hand over what they hold, and timers of requests end. */
const REST_MS = 1_000

const job = givenJob<IdleJob>()
if (job.role === 'servers') answer(...(await serve(job)))
else answer({ connect: await connector(job), rest })

async function connector(job: Exclude<IdleJob, { role: 'servers' }>): Promise<Connect> {
  if (job.role === 'mesh') return throughMesh(job)
  return job.role === 'tls' ? byTls(job) : byUndici(job)
}

async function serve({ registry, service, count }: Extract<IdleJob, { role: 'servers' }>) {
  const servers: Awaited<ReturnType<Awaited<ReturnType<typeof joinMesh>>['serve']>>[] = []
  while (servers.length < count) {
    const mesh = await joinMesh({ service, registry, stateDir: 'memory', handleSignals: false, joinTimeout: '30s' })
    for (let i = 0; i < PER_SESSION && servers.length < count; i++) {
      servers.push(await mesh.serve((_request, response) => response.end('ok'), { host: '127.0.0.1' }))
    }
  }
  const connections = (): number => servers.reduce((sum, { stats }) => sum + stats.connections, 0)
  return [{ connections }, { ports: servers.map(({ port }) => port) }] as const
}

type Connect = (to: ConnectJob) => Promise<void>

async function throughMesh({ registry, services }: Extract<IdleJob, { role: 'mesh' }>): Promise<Connect> {
  const mesh = await joinMesh({
    service: 'checkout',
    registry,
    stateDir: 'memory',
    handleSignals: false,
    joinTimeout: '30s',
  })
  // What is known of an endpoint without a connection is another question: `endpoints.ts`.
  for (const service of services) await mesh.explain({ service })
  return ({ service, ports }) => {
    const client = mesh.http(service)
    return inTurn(ports.length, async () => (await client.get('/')).text())
  }
}

type BareJob = Extract<IdleJob, { credentials: unknown }>

/** One request written by hand on a socket that then rests: the floor that Node itself sets. */
async function byTls({ credentials: { key, cert, ca } }: BareJob): Promise<Connect> {
  const secureContext = createSecureContext({ key, cert, ca: [...ca], minVersion: 'TLSv1.3' })
  const kept: TLSSocket[] = []
  return ({ ports }) => {
    let turn = 0
    return inTurn(ports.length, async () => {
      const port = ports[turn++]!
      const socket = connect({ port, host: '127.0.0.1', secureContext, checkServerIdentity: () => undefined })
      kept.push(socket)
      socket.write('GET / HTTP/1.1\r\nhost: crowd\r\n\r\n')
      await once(socket, 'data')
    })
  }
}

async function byUndici({ credentials: { key, cert, ca } }: BareJob): Promise<Connect> {
  const { Agent, request } = await import('undici')
  const checkServerIdentity = (): undefined => undefined
  const dispatcher = new Agent({
    connect: { key, cert, ca: [...ca], minVersion: 'TLSv1.3', checkServerIdentity },
    keepAliveTimeout: 600_000,
  })
  return ({ ports }) => {
    let turn = 0
    return inTurn(ports.length, async () =>
      (await request(`https://127.0.0.1:${ports[turn++]}/`, { dispatcher })).body.text(),
    )
  }
}

async function inTurn(count: number, call: () => Promise<unknown>): Promise<void> {
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) await call()
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

async function rest(): Promise<Memory> {
  await new Promise((resolve) => setTimeout(resolve, REST_MS))
  for (let i = 0; i < 4; i++) globalThis.gc!()
  const { heapUsed, arrayBuffers, external, rss } = process.memoryUsage()
  return { heap: heapUsed + arrayBuffers, external: external - arrayBuffers, resident: rss }
}
