/**
 * Registries as processes over etcd, servers and a caller at 100 requests a second, and writers
 * with ledgers. `verify` says what a fault may not have done.
 */
import { mkdtempSync, readFileSync } from 'node:fs'
import { join as joinPath } from 'node:path'
import { expect } from 'vitest'
import { EtcdCluster, type EtcdOptions } from '../../rigs/etcd.ts'
import { freePorts } from '../../rigs/free-ports.ts'
import { type Answer, join, request } from '../../rigs/registry-session.ts'
import { Fleet, OPEN } from '../fleet.ts'
import { eventually, type Rig } from '../rig.ts'
import { Churn, type Door } from './churn.ts'
import { PlaneApi } from './plane-api.ts'
import { RegistryNode } from './registry-node.ts'
import { Writer } from './writer.ts'

/** So short that what a fault does to a lease shows within a test. */
const LEASE = '6s'
const SERVERS = ['a', 'b']
const CHURN = 'churn'

export interface PlaneOptions {
  /** @defaultValue 3 */
  readonly registries?: number
  /** `undefined`: one registry with an embedded store. @defaultValue three nodes */
  readonly etcd?: EtcdOptions | undefined
  /** Where an embedded store is. */
  readonly disk?: string
}

export class ControlPlane {
  readonly rig: Rig
  readonly registries: RegistryNode[] = []
  readonly #options: PlaneOptions
  #etcd: EtcdCluster | undefined
  #adminToken = ''
  #door!: Door
  api!: PlaneApi
  fleet!: Fleet
  writer!: Writer
  churn!: Churn

  private constructor(rig: Rig, options: PlaneOptions) {
    this.rig = rig
    this.#options = options
  }

  static async start(rig: Rig, options: PlaneOptions = {}): Promise<ControlPlane> {
    const given = { etcd: { nodes: 3 }, registries: 3, ...options } as const
    const plane = new ControlPlane(rig, given)
    if (given.etcd !== undefined) {
      plane.#etcd = await EtcdCluster.start(given.etcd)
      rig.onClose(() => plane.etcd.close())
    }
    const ports = await freePorts(given.registries)
    for (const port of ports) await plane.#addRegistry(port)
    const [first, ...others] = plane.registries
    // The first one makes the admin token.
    await first!.start()
    plane.#adminToken = readFileSync(joinPath(first!.dataDir, 'admin-token'), 'utf8').trim()
    await Promise.all(others.map((registry) => registry.start()))
    plane.api = new PlaneApi(plane.urls, plane.#adminToken)
    await plane.api.insist('POST', '/v1/policies', OPEN)
    plane.fleet = await Fleet.start(rig, SERVERS, {
      registries: { urls: plane.urls, token: (service) => plane.joinToken(service) },
    })
    await plane.#startWriters()
    await plane.observe()
    return plane
  }

  get etcd(): EtcdCluster {
    if (this.#etcd === undefined) throw new Error('there is no etcd')
    return this.#etcd
  }

  get urls(): string[] {
    return this.registries.map(({ url }) => url)
  }

  /** The registry that looks after what dead registries leave behind. */
  async reaper(): Promise<RegistryNode> {
    let found: RegistryNode | undefined
    await eventually('a registry is the reaper', async () => {
      const { registries } = await this.api.insist<{ registries: { url: string; roles?: string[] }[] }>(
        'GET',
        '/v1/registries',
      )
      const { url } = registries.find(({ roles }) => roles?.includes('reaper')) ?? {}
      found = this.registries.find((registry) => registry.running && registry.url === url)
      return found !== undefined
    })
    return found!
  }

  async joinToken(service: string, uses = 1_000): Promise<string> {
    const wanted = { service, uses, ttl: '1h' }
    return (await this.api.insist<{ token: string }>('POST', '/v1/tokens', wanted)).token
  }

  /** One instance more. */
  async serve(name: string): Promise<void> {
    await this.#noneVanished()
    await this.fleet.serve(name)
    await this.observe()
  }

  /** A write that `registry` refuses: it says that nothing was changed, and when to try again. */
  async refusesWrites({ url }: RegistryNode): Promise<void> {
    const { roots } = this.#door
    const registry = { url, roots, adminToken: this.#adminToken, dev: false } as never
    let answer: Answer | undefined
    await eventually('a write is refused', async () => {
      const body = { service: 'refused' }
      answer = await request(registry, 'POST', '/v1/tokens', { admin: true, body })
      return answer.status !== 201
    })
    expect(answer).toMatchObject({ status: 503, json: { error: { code: 'storage-unavailable' } } })
    expect(Number(answer!.headers['retry-after'])).toBeGreaterThan(0)
  }

  /**
   * A backup took the place of the store: writes that began before now may be gone. To be called
   * once the old store cannot acknowledge a write that begins later.
   */
  forget(): void {
    this.writer.forget()
    this.churn.forget()
  }

  /** Each process counts from here on how many instances it knows at least. */
  async observe(): Promise<void> {
    const { fleet } = this
    const all = async (): Promise<boolean> => (await fleet.observed()).every(({ now }) => now === fleet.servers.size)
    await eventually('all processes know all instances', all, 60_000)
    await fleet.observe()
  }

  /** Waits until calls are answered and writes are acknowledged again. */
  async goesOn(): Promise<void> {
    await Promise.all([
      this.writer.writes(),
      this.churn.changes(),
      ...[...this.fleet.servers.keys()].map((name) => this.fleet.answers(name)),
    ])
  }

  /** How many sessions each running registry has. */
  async sessions(): Promise<number[]> {
    const running = this.registries.filter((registry) => registry.running)
    const texts = await Promise.all(running.map(({ url }) => this.api.at(url).probe('/metrics')))
    return texts.map(({ text }) => Number(/^inmesh_registry_sessions(?:\{.*\})? (\d+)$/m.exec(text)?.[1]))
  }

  /**
   * What no fault may do: fail a call, lose what was acknowledged, or hide a live instance from a
   * process for an instant. All registries must run and agree. Load and writers go on after it.
   */
  async verify(): Promise<void> {
    await this.goesOn()
    await Promise.all([this.churn.pause(), this.writer.pause()])
    for (const { name, url } of this.registries) {
      let missing: string[] = []
      const complete = async (): Promise<boolean> => {
        missing = await this.#missingAt(url).catch((error: Error) => [error.message])
        return missing.length === 0
      }
      await eventually(`${name} has all that was acknowledged`, complete).catch((error: Error) => {
        throw new Error(`${error.message}: ${missing.slice(0, 10).join('; ')}`)
      })
    }
    await this.#noneVanished()
    const { lost } = await this.fleet.settle()
    expect(lost).toEqual([])
    expect(this.writer.refusals).toEqual([])
    this.fleet.offer()
    this.churn.resume()
    this.writer.resume()
  }

  async #noneVanished(): Promise<void> {
    const observed = await this.fleet.observed()
    expect(observed.map(({ least }) => least)).toEqual(observed.map(() => this.fleet.servers.size))
  }

  async #missingAt(url: string): Promise<string[]> {
    const api = this.api.at(url)
    const { instances } = await api.get<{ instances: { id: string }[] }>(`/v1/services/${CHURN}`)
    const { instances: servers } = await api.get<{ instances: { id: string }[] }>('/v1/services/inventory')
    return [
      ...(await this.writer.missingAt(url)),
      ...this.churn.wrongIn(instances.map(({ id }) => id)),
      ...(servers.length === this.fleet.servers.size ? [] : [`inventory has ${servers.length} instances`]),
    ]
  }

  async #addRegistry(port: number): Promise<RegistryNode> {
    const name = `r${this.registries.length}`
    const { disk } = this.#options
    const dataDir = disk === undefined ? this.rig.path(name) : mkdtempSync(joinPath(disk, name))
    const paths = await this.#etcd?.paths()
    const args = ['--lease', LEASE]
    const store = paths === undefined ? {} : { store: paths.url, paths }
    const added = new RegistryNode(this.rig, { name, port, dataDir, args, ...store })
    this.registries.push(added)
    return added
  }

  async #startWriters(): Promise<void> {
    const { roots } = await this.api.call<{ roots: string[] }>('GET', '/v1/bundle')
    const doors = this.urls.map((url): Door => ({ url, roots, dev: false, adminToken: this.#adminToken }))
    this.#door = doors[0]!
    const credentials = await join(this.#door as never, CHURN, await this.joinToken(CHURN))
    this.writer = new Writer(this.api)
    this.rig.onClose(() => this.writer.stop())
    this.churn = new Churn(doors, CHURN, credentials)
    this.rig.onClose(() => this.churn.close())
    await this.goesOn()
  }
}
