/**
 * A registry, servers and a caller over mTLS, most in separate processes. The caller sends 100 GETs
 * a second, and a ledger records who answered.
 */
import type { Serializable } from 'node:child_process'
import type { Mesh, MeshOptions } from '../../src/index.ts'
import { freePort } from '../rigs/free-ports.ts'
import { Load } from './load.ts'
import { endpointsOf, Observer } from './observer.ts'
import { eventually, type Process, type Rig } from './rig.ts'

const PER_SECOND = 100
/** For a test: starting a process takes ten seconds where many are at work. */
export const FLEET_TEST_MS = 240_000
/** Round robin, because it avoids no instance by itself: each fault is met by calls. */
export const OPEN = [
  { service: 'mesh', defaultIntention: 'allow' },
  { service: 'inventory', balancer: 'round-robin' },
]

export interface FleetOptions {
  readonly leaseMs?: number
  /** Further options of the registry. */
  readonly registry?: Readonly<Record<string, string | number>>
  /** Further services that get a join token; `inventory` and `checkout` always do. */
  readonly services?: readonly string[]
  readonly policies?: readonly object[]
  /** Of servers. @defaultValue `service` */
  readonly program?: 'service' | 'grpc-service'
  /** Of the processes. */
  readonly environment?: Readonly<Record<string, string>>
  /** Registries that run already, with policies in force. Absent: the fleet starts one. */
  readonly registries?: { readonly urls: readonly string[]; token(service: string): Promise<string> }
}

/** Instances of `inventory` that a process knows. */
export interface Observed {
  readonly now: number
  readonly least: number
}

export class Fleet {
  readonly #rig: Rig
  readonly #options: FleetOptions
  readonly #answers = new Map<string, number>()
  readonly servers = new Map<string, Process>()
  tokens: Readonly<Record<string, string>> = {}
  url: string | readonly string[] = ''
  port = 0
  registry!: Process
  client!: Mesh
  load!: Load
  #observer!: Observer

  constructor(rig: Rig, options: FleetOptions = {}) {
    this.#rig = rig
    this.#options = options
  }

  static async start(rig: Rig, servers: readonly string[], options: FleetOptions = {}): Promise<Fleet> {
    const fleet = new Fleet(rig, options)
    const { services = [], policies = [], registries } = options
    const tokens = ['inventory', 'checkout', ...services]
    if (registries === undefined) await fleet.startRegistry({ tokens, policies: [...OPEN, ...policies] })
    else {
      fleet.url = registries.urls
      fleet.tokens = Object.fromEntries(
        await Promise.all(tokens.map(async (service) => [service, await registries.token(service)])),
      )
    }
    await Promise.all(servers.map((name) => fleet.serve(name)))
    fleet.client = await rig.join({ service: 'checkout', ...fleet.mesh('checkout') })
    fleet.offer()
    rig.onClose(() => fleet.load.stop())
    fleet.#observer = new Observer(fleet.client, 'inventory')
    rig.onClose(() => fleet.#observer.stop())
    for (const name of servers) await fleet.answers(name)
    return fleet
  }

  /** Load with a ledger that is empty. */
  offer(): void {
    const inventory = this.client.http('inventory')
    this.load = new Load(PER_SECOND, async () => {
      const response = await inventory.get('/')
      const name = await response.text()
      if (!response.ok) throw new Error(`status ${response.status}`)
      this.#answers.set(name, this.answered(name) + 1)
    })
  }

  /** On the same data and the same port, once there is one. */
  async startRegistry(options: { tokens?: readonly string[]; policies?: readonly object[] } = {}): Promise<void> {
    const { leaseMs = 15_000, registry = {} } = this.#options
    const given = { ...registry, dataDir: this.#rig.path('registry'), port: this.port, lease: leaseMs }
    this.registry = await this.#start('registry', JSON.parse(JSON.stringify({ ...given, ...options })))
    const { url, port, tokens } = this.registry.messages[0] as unknown as Pick<Fleet, 'url' | 'port' | 'tokens'>
    this.url = url
    this.port = port
    if (options.tokens !== undefined) this.tokens = tokens
  }

  /** How a process of `service` joins. */
  mesh(service: string): Pick<MeshOptions, 'registry' | 'joinToken'> {
    return { registry: this.url, joinToken: this.tokens[service]! }
  }

  /**
   * Another instance of the service that is called; `state` names its directory, which a restart
   * may share.
   */
  async serve(name: string, port?: number, state = name): Promise<Process> {
    const mesh = { service: 'inventory', ...this.mesh('inventory'), stateDir: this.#rig.path(state) }
    const serve = { port: port ?? (await freePort()) }
    const server = await this.#start(this.#options.program ?? 'service', { mesh, name, serve })
    this.servers.set(name, server)
    return server
  }

  #start(file: string, options: Serializable): Promise<Process> {
    return this.#rig.start(file, options, this.#options.environment)
  }

  answered(name: string): number {
    return this.#answers.get(name) ?? 0
  }

  /** How many instances the caller knows, whatever their state. */
  get listed(): number {
    return this.listedOf('inventory')
  }

  listedOf(service: string): number {
    return endpointsOf(this.client, service)
  }

  /** What the caller and each server know, and the least that they knew since {@link observe}. */
  observed(): Promise<readonly Observed[]> {
    return this.#observe('observed')
  }

  /** Each process counts from here on. */
  async observe(): Promise<void> {
    this.#observer.begin()
    await this.#observe('observe')
  }

  async #observe(order: string): Promise<readonly Observed[]> {
    const { now, least } = this.#observer
    const running = [...this.servers.values()].filter((server) => server.running)
    const told = await Promise.all(running.map((server) => server.ask(order)))
    return [{ now, least }, ...(told as unknown as Observed[])]
  }

  /** How often the caller was refused for this reason, as its events tell. */
  refused(reason: string): number {
    return this.client.events().filter(({ name, payload }) => name === 'peer:refused' && payload.reason === reason)
      .length
  }

  get renewals(): number {
    return this.client.events().filter(({ name }) => name === 'identity:renewed').length
  }

  /** Waits for `more` answers of one instance, which says that it gets calls now. */
  async answers(name: string, more = 10): Promise<void> {
    const from = this.answered(name)
    await eventually(`${name} answers ${more} requests`, () => this.answered(name) >= from + more)
  }

  /** Waits until the registry has `sessions` live sessions. */
  async inTouch(sessions: number, timeoutMs?: number): Promise<void> {
    const all = async (): Promise<boolean> => (await this.counts()).sessions === sessions
    await eventually(`${sessions} processes are in touch`, all, timeoutMs)
  }

  async counts(): Promise<{ sessions: number; cpuMs: number }> {
    return (await this.registry.ask('counts')) as never
  }

  /** Ends the load; the ledger must show an answer for each request. */
  async settle(): Promise<{ lost: unknown[]; answered: number }> {
    await this.load.stop()
    return { lost: this.load.failures, answered: this.load.succeeded }
  }
}
