/**
 * Callers and instances of a mesh on real sockets over mTLS, each instance by both protocols, and
 * what a caller's metrics say of mirrors.
 */
import type { IncomingHttpHeaders } from 'node:http'
import * as grpc from '@grpc/grpc-js'
import { currentCall, type Mesh } from '../../../src/index.ts'
import { startTestMesh, type TestMemberOptions, type TestMesh } from '../../../src/testing/index.ts'
import { Shop, type ShopClient, shopServer } from '../../rigs/shop.ts'
import { opened } from '../http/opened.ts'

export type Protocol = 'http' | 'grpc'

export interface Seen {
  readonly by: string
  readonly headers: IncomingHttpHeaders
  /** Until its deadline, in ms. */
  readonly remainingMs: number
}

/** Answers for an instance; what it returns is an HTTP status, or none to hang. */
export type Script = (
  seen: Seen,
  socket: { destroy(): void } | undefined,
) => Promise<number | undefined> | number | undefined

export const SUBSETS = { blue: { version: 'v1' }, green: { version: 'v2' } }
export const ALL = { name: 'all', to: 'blue', mirror: { to: 'green' } }

export class MirroredMesh {
  readonly test: TestMesh
  readonly seen: Seen[] = []
  readonly #clients = new Map<Mesh, ShopClient>()

  constructor(test: TestMesh) {
    this.test = test
  }

  /** An instance that answers by both protocols. */
  async instance(
    service: string,
    by: string,
    options: TestMemberOptions = {},
    script: Script = () => 200,
  ): Promise<Mesh> {
    const mesh = await this.test.join(service, options)
    await mesh.serve(async (request, response) => {
      const seen = { by, headers: request.headers, remainingMs: currentCall()!.remainingMs }
      this.seen.push(seen)
      request.resume()
      const status = await script(seen, request.socket)
      if (status !== undefined) response.writeHead(status).end(by)
    })
    await mesh.serveGrpc(
      shopServer({
        Get: async ({ metadata }, done) => {
          const headers = metadata.toHttp2Headers() as IncomingHttpHeaders
          const seen = { by, headers, remainingMs: currentCall()!.remainingMs }
          this.seen.push(seen)
          const status = await script(seen, undefined)
          if (status === 200) done(null, { sku: by })
          else if (status !== undefined) done({ code: grpc.status.UNAVAILABLE, details: 'no' } as grpc.ServiceError)
        },
      }),
    )
    return mesh
  }

  /** Who answers. `timeout`: the caller's, in ms. */
  async ask(
    caller: Mesh,
    protocol: Protocol,
    service: string,
    headers: Record<string, string> = {},
    timeout = 20_000,
  ): Promise<string> {
    if (protocol === 'http') return (await caller.http(service).get('/', { headers, timeout })).text()
    let client = this.#clients.get(caller)
    if (client === undefined) {
      client = caller.grpc(Shop, service) as unknown as ShopClient
      this.#clients.set(caller, client)
    }
    const metadata = new grpc.Metadata()
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
    return new Promise((resolve, reject) => {
      client.get({ sku: 'a' }, metadata, { deadline: Date.now() + timeout }, (error, stock) =>
        error === null ? resolve(stock!.sku!) : reject(error),
      )
    })
  }

  by(name: string): Seen[] {
    return this.seen.filter(({ by }) => by === name)
  }

  close(): Promise<void> {
    return this.test.close()
  }
}

export async function mirroredMesh(policies: readonly unknown[]): Promise<MirroredMesh> {
  return opened(new MirroredMesh(await startTestMesh({ policies })))
}

/** The value of one series; 0 if there is none. */
export function metric(mesh: Mesh, name: string, labels: Readonly<Record<string, string>>): number {
  const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`)
  let sum = 0
  for (const line of mesh.metrics().split('\n')) {
    if (line.startsWith(`${name}{`) && wanted.every((label) => line.includes(label)))
      sum += Number(line.split(' ').at(-1))
  }
  return sum
}

export const sent = (mesh: Mesh, code: string): number => metric(mesh, 'inmesh_client_mirrors_total', { code })
export const dropped = (mesh: Mesh, reason: string): number =>
  metric(mesh, 'inmesh_client_mirrors_dropped_total', { reason })
