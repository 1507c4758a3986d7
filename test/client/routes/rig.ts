/**
 * Callers and instances of a mesh on real sockets, each instance by both protocols, so that one
 * table of cases serves HTTP and gRPC.
 */
import type { IncomingHttpHeaders } from 'node:http'
import * as grpc from '@grpc/grpc-js'
import type { Mesh } from '../../../src/index.ts'
import { startTestMesh, type TestMemberOptions, type TestMesh } from '../../../src/testing/index.ts'
import { Shop, type ShopClient, shopServer } from '../../rigs/shop.ts'
import { opened } from '../http/opened.ts'

export type Protocol = 'http' | 'grpc'

/** What an instance saw of one request. */
export interface Seen {
  readonly by: string
  readonly headers: IncomingHttpHeaders
  /** Of HTTP, with its query. */
  readonly path: string | undefined
  /** HTTP's `host`, gRPC's `:authority`. */
  readonly host: string | undefined
}

/** What the caller got. */
export interface Answered {
  /** The instance that answered. */
  readonly by: string
  /** As the caller saw it: HTTP's or gRPC's. */
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
}

export interface Ask {
  /** @defaultValue `/items/42` */
  readonly path?: string
  /** @defaultValue `GET` */
  readonly method?: string
  /** Headers, or metadata. */
  readonly headers?: Readonly<Record<string, string>>
  readonly timeout?: number
}

export class RoutedMesh {
  readonly test: TestMesh
  /** The requests that instances saw, oldest first. */
  readonly seen: Seen[] = []
  /** How an instance answers; by its name. @defaultValue well */
  readonly scripts = new Map<string, (seen: Seen) => number | Promise<number>>()
  /** By caller and service. */
  readonly #clients = new Map<Mesh, Map<string, ReturnType<Mesh['grpc']>>>()

  constructor(test: TestMesh) {
    this.test = test
  }

  /** One instance, which answers with `name` by both protocols. */
  async instance(service: string, name: string, member: TestMemberOptions = {}): Promise<Mesh> {
    const mesh = await this.test.join(service, member)
    await this.serve(mesh, name)
    return mesh
  }

  /** The same for a member that has joined: a call that waits for it does so for 3 s. */
  async serve(mesh: Mesh, name: string): Promise<void> {
    const answer = async (seen: Seen): Promise<number> => {
      this.seen.push(seen)
      return (await this.scripts.get(name)?.(seen)) ?? 0
    }
    await mesh.serve(async (request, response) => {
      const status = await answer({ by: name, headers: request.headers, path: request.url, host: request.headers.host })
      response.writeHead(status === 0 ? 200 : status, { 'x-by': name }).end(name)
    })
    await mesh.serveGrpc(
      shopServer({
        Get: async (call, done) => {
          const { metadata } = call
          const headers = Object.fromEntries(
            Object.entries(metadata.getMap()).map(([key, value]) => [key, String(value)]),
          )
          const code = await answer({ by: name, headers, path: undefined, host: call.getHost() })
          if (code !== 0) done({ code, details: 'scripted' } as grpc.ServiceError)
          else done(null, { sku: name })
        },
        Watch: (call) => {
          call.write({ sku: name })
          // Longer than the timeout of a service may be: a stream that has begun goes on.
          const end = (): void => {
            call.write({ sku: name })
            call.end()
          }
          setTimeout(end, 1_300)
        },
      }),
    )
  }

  async ask(caller: Mesh, protocol: Protocol, service: string, what: Ask = {}): Promise<Answered> {
    return protocol === 'http' ? askHttp(caller, service, what) : this.#askGrpc(caller, service, what)
  }

  /** Who answered each of `count` requests, in order. */
  async tally(caller: Mesh, protocol: Protocol, service: string, count: number, what?: Ask): Promise<string[]> {
    const by: string[] = []
    for (let i = 0; i < count; i++) by.push((await this.ask(caller, protocol, service, what)).by)
    return by
  }

  async #askGrpc(caller: Mesh, service: string, { headers = {}, timeout }: Ask): Promise<Answered> {
    const clients = this.#clients.get(caller) ?? new Map<string, ReturnType<Mesh['grpc']>>()
    this.#clients.set(caller, clients)
    const shop = clients.get(service) ?? caller.grpc(Shop, service)
    clients.set(service, shop)
    const metadata = new grpc.Metadata()
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
    const options = timeout === undefined ? {} : { deadline: Date.now() + timeout }
    return new Promise((resolve, reject) => {
      const received = new Map<string, string>()
      const call = (shop as unknown as ShopClient).get({ sku: 'a' }, metadata, options, (error, stock) => {
        if (error !== null) reject(error)
        else resolve({ by: stock?.sku ?? '', status: 0, headers: received })
      })
      call.on('metadata', (got) => {
        for (const [name, value] of Object.entries(got.getMap())) received.set(name, String(value))
      })
    })
  }

  async close(): Promise<void> {
    await this.test.close()
  }
}

async function askHttp(caller: Mesh, service: string, what: Ask): Promise<Answered> {
  const { path = '/items/42', method = 'GET', headers, timeout } = what
  const response = await caller.http(service).request(method, path, {
    ...(headers !== undefined && { headers }),
    ...(timeout !== undefined && { timeout }),
  })
  await response.text()
  const received = new Map<string, string>(response.headers)
  return { by: received.get('x-by') ?? '', status: response.status, headers: received }
}

/** Closed after the test. */
export async function routedMesh(policies: readonly unknown[]): Promise<RoutedMesh> {
  return opened(new RoutedMesh(await startTestMesh({ policies })))
}

export function count(all: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const one of all) counts[one] = (counts[one] ?? 0) + 1
  return counts
}
