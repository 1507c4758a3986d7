/**
 * Processes of the gRPC benchmark: a server and a client, each plain or in a mesh, with the same
 * messages. The plain client uses its channels in turn, with a deadline per call; `bare` has none.
 */
import * as grpc from '@grpc/grpc-js'
import { joinMesh } from 'inmesh'
import { answer, driver, givenJob } from './measured-process.ts'
import type { MeshCredentials } from './testbed.ts'

export type GrpcJob =
  | { readonly role: 'server'; readonly registry: string; readonly doors: readonly GrpcDoor[] }
  | {
      readonly role: 'client'
      readonly way: 'plain' | 'bare' | 'mesh'
      readonly ports: readonly number[]
      readonly registry: string
      readonly service: string
      readonly credentials?: MeshCredentials
    }

export type GrpcDoor =
  | { readonly kind: 'mesh'; readonly service: string; readonly mode: 'plaintext' | 'strict' }
  | { readonly kind: 'bare'; readonly credentials?: MeshCredentials }

const bytes = (value: Buffer): Buffer => value
const METHODS = {
  get: {
    path: '/shop.Inventory/Get',
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  },
} satisfies grpc.ServiceDefinition
const InventoryClient = grpc.makeClientConstructor(METHODS, 'shop.Inventory') as unknown as new (
  ...given: ConstructorParameters<typeof grpc.Client>
) => grpc.Client & { get(request: Buffer, ...rest: unknown[]): unknown }

/** The mesh's own default. */
const TIMEOUT_MS = 10_000
const REQUEST = Buffer.alloc(64, 1)
const ANSWER = Buffer.alloc(1_024, 2)

function newServer(): grpc.Server {
  const server = new grpc.Server()
  server.addService(METHODS, {
    get: (_call: grpc.ServerUnaryCall<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) => callback(null, ANSWER),
  })
  return server
}

async function open(door: GrpcDoor, registry: string): Promise<number> {
  const server = newServer()
  if (door.kind === 'mesh') {
    const mesh = await joinMesh({ service: door.service, registry, stateDir: 'memory', handleSignals: false })
    return (await mesh.serveGrpc(server, { host: '127.0.0.1', mode: door.mode })).port
  }
  const { credentials } = door
  const own =
    credentials === undefined
      ? grpc.ServerCredentials.createInsecure()
      : grpc.ServerCredentials.createSsl(
          Buffer.from(credentials.ca.join('\n')),
          [{ private_key: Buffer.from(credentials.key), cert_chain: Buffer.from(credentials.cert) }],
          true,
        )
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', own, (error, port) => (error === null ? resolve(port) : reject(error)))
  })
}

const job = givenJob<GrpcJob>()
if (job.role === 'server') {
  const ports = await Promise.all(job.doors.map((door) => open(door, job.registry)))
  answer({}, { ports })
} else {
  const call = job.way === 'mesh' ? await throughMesh(job.registry, job.service) : plainly(job.way)
  answer(driver(call))
}

async function throughMesh(registry: string, service: string): Promise<() => Promise<unknown>> {
  const mesh = await joinMesh({ service: 'checkout', registry, stateDir: 'memory', handleSignals: false })
  const client = mesh.grpc(InventoryClient, service)
  return () =>
    new Promise((resolve, reject) => {
      client.get(REQUEST, (error: Error | null, value: Buffer) => (error === null ? resolve(value) : reject(error)))
    })
}

function plainly(way: string): () => Promise<unknown> {
  const { ports, credentials } = job as Extract<GrpcJob, { role: 'client' }>
  const own =
    credentials === undefined
      ? grpc.credentials.createInsecure()
      : grpc.credentials.createSsl(
          Buffer.from(credentials.ca.join('\n')),
          Buffer.from(credentials.key),
          Buffer.from(credentials.cert),
          // The servers' certificates name a service and no host.
          { checkServerIdentity: () => undefined },
        )
  const clients = ports.map((port) => new InventoryClient(`127.0.0.1:${port}`, own))
  let turn = 0
  return () =>
    new Promise((resolve, reject) => {
      const client = clients[turn++ % clients.length]!
      const done = (error: Error | null, value: Buffer): void => (error === null ? resolve(value) : reject(error))
      if (way === 'bare') client.get(REQUEST, done)
      else client.get(REQUEST, new grpc.Metadata(), { deadline: Date.now() + TIMEOUT_MS }, done)
    })
}
