/** A mesh of five services under load, and a ledger of the calls that were made. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { joinMesh, type Mesh } from '../../src/index.ts'
import { type Registry, startRegistry } from '../../src/registry/index.ts'

/** Who calls whom, and every how many ms. */
const CALLS = [
  ['web', 'checkout', 20],
  ['web', 'catalog', 40],
  ['checkout', 'inventory', 25],
  ['checkout', 'prices', 50],
  ['catalog', 'inventory', 50],
] as const
const INVENTORY = {
  service: 'inventory',
  allow: [{ from: 'checkout' }, { from: 'catalog', methods: ['GET'], paths: ['/items/*'] }],
  subsets: { v1: { version: 'v1' }, v2: { version: 'v2' } },
  routes: [
    {
      name: 'item-pages',
      match: [{ path: { prefix: '/items' } }],
      split: [
        { to: 'v1', weight: 70 },
        { to: 'v2', weight: 30 },
      ],
    },
  ],
}
const LOOPBACK = { port: 0, host: '127.0.0.1' } as const
const INSTANCE = fileURLToPath(new URL('./instance-process.ts', import.meta.url))

export class Shop implements AsyncDisposable {
  readonly registry: Registry
  /** By `caller called`: when each call ended, wall clock in ms. */
  readonly ledger = new Map<string, number[]>()
  /** Whether prices answers with 500. */
  areFailing = false
  /** By `caller called`: when a call first failed with a code, wall clock in ms. */
  readonly firstFailures = new Map<string, number>()
  readonly #meshes = new Map<string, Mesh>()
  readonly #timers: NodeJS.Timeout[] = []
  #child: ChildProcess | undefined

  private constructor(registry: Registry) {
    this.registry = registry
  }

  static async open(): Promise<Shop> {
    const shop = new Shop(
      await startRegistry({ port: 0, uiPort: 0, memory: true, log: false, lease: '4s', joinsPerSecond: 1_000 }),
    )
    await shop.#begin()
    return shop
  }

  async #begin(): Promise<void> {
    const { registry } = this
    await registry.applyPolicies([
      { service: 'mesh', timeout: '2s', allow: [{ from: '*' }] },
      INVENTORY,
      { service: 'prices', circuitBreaker: { minimumCalls: 10, resetAfter: '60s' }, retry: { attempts: 1 } },
    ])
    for (const service of ['web', 'checkout', 'catalog', 'inventory', 'prices']) {
      this.#meshes.set(service, await this.#join(service, 'v1'))
    }
    for (const [service, mesh] of this.#meshes) {
      await mesh.serve((_request, response) => {
        if (service === 'prices' && this.areFailing) response.statusCode = 500
        response.end('ok')
      }, LOOPBACK)
    }
    await this.#spawn('inventory', 'v2')
    for (const [from, to, everyMs] of CALLS) {
      this.ledger.set(`${from} ${to}`, [])
      const client = this.#meshes.get(from)!.http(to)
      this.#timers.push(setInterval(() => void this.#call(client, `${from} ${to}`), everyMs))
    }
  }

  /** Calls per second that ended in a window. */
  perSecond(edge: string, from: number, to: number): number {
    const within = this.ledger.get(edge)!.filter((at) => at >= from && at < to)
    return (within.length * 1_000) / (to - from)
  }

  /** Ends the instance v2 of inventory without a word, as a loss of power does; says when. */
  async kill(): Promise<number> {
    const child = this.#child!
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
    return Date.now()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    this.#child?.kill('SIGKILL')
    for (const mesh of this.#meshes.values()) await mesh.close()
    await this.registry.close()
  }

  async #call(client: ReturnType<Mesh['http']>, edge: string): Promise<void> {
    try {
      const response = await client.get('/items/1')
      await response.text()
    } catch (error) {
      // A failure is a call that ended, too.
      const kind = `${edge} ${(error as { code?: string }).code}`
      if (!this.firstFailures.has(kind)) this.firstFailures.set(kind, Date.now())
    }
    this.ledger.get(edge)!.push(Date.now())
  }

  async #join(service: string, version: string): Promise<Mesh> {
    const { registry } = this
    const joinToken = await registry.createJoinToken({ service })
    return await joinMesh({
      ...{ service, version, registry: registry.url, joinToken },
      ...{ stateDir: 'memory', handleSignals: false, drainNotice: 0, drainTimeout: 0, joinTimeout: '30s' },
    })
  }

  async #spawn(service: string, version: string): Promise<void> {
    const token = await this.registry.createJoinToken({ service })
    const child = spawn(process.execPath, [INSTANCE, this.registry.url, token, service, version], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#child = child
    await once(child.stdout!, 'data')
  }
}
