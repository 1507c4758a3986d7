/**
 * A small shop to try commands on: `web` asks `checkout`, which asks `inventory` (two versions) and
 * `prices`. One in ten answers of inventory's v2 is 503 or slow, so that policies have work.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { HttpResponse } from '../../client/http/response.ts'
import { reasonOf } from '../../core/errors.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import { resolveMeshOptions } from '../../mesh/resolve-options.ts'

/** Between the visits of `web`. */
const VISIT_MS = 200
const STUMBLE = 0.1
const SLOW_MS = 150

export const EXAMPLE_SERVICES = ['checkout', 'inventory', 'prices', 'web'] as const

type Answer = (path: string, request: IncomingMessage) => unknown

export class ExampleMesh {
  readonly #registry: string
  readonly #members: Mesh[] = []
  readonly #stop = new AbortController()
  #visits: Promise<void> | undefined

  constructor(registry: string) {
    this.#registry = registry
  }

  /** Resolves when every service is registered. */
  async start(): Promise<void> {
    await this.#serve('prices', 'v1', (path) => ({ sku: lastOf(path), cents: 100 + (hashOf(path) % 900) }))
    for (const version of ['v1', 'v2']) {
      await this.#serve('inventory', version, async (path) => {
        if (version === 'v2' && Math.random() < STUMBLE) {
          if (Math.random() < 0.5) return undefined
          await sleep(SLOW_MS)
        }
        return { sku: lastOf(path), left: hashOf(path) % 20, version }
      })
    }
    const checkout: Mesh = await this.#serve('checkout', 'v1', async (path) => {
      const sku = lastOf(path)
      const [stock, price] = await Promise.all([
        checkout.http('inventory').get(`/items/${sku}`),
        checkout.http('prices').get(`/prices/${sku}`),
      ])
      return { sku, ...(await fields(stock)), ...(await fields(price)) }
    })
    this.#visits = this.#visit(await this.#join('web', 'v1'))
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#visits
    await Promise.all(this.#members.map((member) => member.close()))
  }

  async #join(service: string, version: string): Promise<Mesh> {
    const { startMesh } = await import('../../mesh/open-mesh.ts')
    const options = { service, version, registry: this.#registry, stateDir: 'memory', joinTimeout: 30_000 }
    // The variables of the shell are for what the user starts, not for these.
    const settings = resolveMeshOptions({ ...options, handleSignals: false, drainNotice: 0, drainTimeout: 1_000 }, {})
    const mesh = await startMesh(settings)
    this.#members.push(mesh)
    return mesh
  }

  /** An answer of `undefined` is 503. */
  async #serve(service: string, version: string, answer: Answer): Promise<Mesh> {
    const mesh = await this.#join(service, version)
    await mesh.serve((request, response) => void respond(answer, request, response), { host: '127.0.0.1' })
    return mesh
  }

  async #visit(web: Mesh): Promise<void> {
    const checkout = web.http('checkout')
    const { signal } = this.#stop
    for (let visit = 0; !signal.aborted; visit++) {
      // Failures are what the graph of the mesh shows.
      await checkout.get(`/orders/${visit % 100}`, { signal }).catch(() => undefined)
      await sleep(VISIT_MS, undefined, { signal }).catch(() => undefined)
    }
  }
}

async function respond(answer: Answer, request: IncomingMessage, response: ServerResponse): Promise<void> {
  request.resume()
  response.setHeader('content-type', 'application/json')
  try {
    const value = await answer(request.url ?? '/', request)
    if (value === undefined) response.writeHead(503).end('{"error":"try again"}')
    else response.end(JSON.stringify(value))
  } catch (error) {
    response.writeHead(502).end(JSON.stringify({ error: reasonOf(error) }))
  }
}

async function fields(response: HttpResponse): Promise<object> {
  return await response.json<object>()
}

function lastOf(path: string): string {
  return path.split('?')[0]!.split('/').at(-1) ?? ''
}

/** The same for the same item, in every instance. */
function hashOf(path: string): number {
  return [...lastOf(path)].reduce((sum, character) => (sum * 31 + character.charCodeAt(0)) % 65_521, 7)
}
