/** Registries over three etcd nodes on this machine, for the questions with `--etcd`. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import type { Registry } from '../src/registry/index.ts'
import { EtcdCluster } from '../test/rigs/etcd.ts'
import { freePorts } from '../test/rigs/free-ports.ts'
import { type Credentials, join, request } from '../test/rigs/registry-session.ts'
import { type Subject, withSubjects } from './harness.ts'
import { openSessions, type Session } from './registry-session.ts'
import { type RegistryReady, startRegistryProcess } from './testbed.ts'

export type RegistrySubject = Subject & { ready: RegistryReady }

export class SharedStore {
  readonly cluster: EtcdCluster
  readonly keep: <S extends Subject>(subject: S) => S
  readonly #directory: string
  readonly #ports: readonly number[]
  readonly registries: RegistrySubject[] = []
  #adminToken = ''

  private constructor(cluster: EtcdCluster, keep: SharedStore['keep'], directory: string, ports: readonly number[]) {
    this.cluster = cluster
    this.keep = keep
    this.#directory = directory
    this.#ports = ports
  }

  /** Three nodes and as many registries; all end with `work`. */
  static async with<T>(registries: number, work: (store: SharedStore) => Promise<T>): Promise<T> {
    const directory = mkdtempSync(joinPath(tmpdir(), 'inmesh-bench-'))
    const cluster = await EtcdCluster.start({ nodes: 3 })
    try {
      return await withSubjects(async (keep) => {
        const store = new SharedStore(cluster, keep, directory, await freePorts(registries))
        return await work(store)
      })
    } finally {
      await cluster.close()
      rmSync(directory, { recursive: true, force: true })
    }
  }

  /** Of all registries, also of those that do not run yet. */
  get urls(): string[] {
    return this.#ports.map((port) => `https://127.0.0.1:${port}`)
  }

  /** Starts registry `i`. */
  async start(i: number, options: object = {}): Promise<RegistrySubject> {
    const dataDir = joinPath(this.#directory, `r${i}`)
    const given = { dataDir, port: this.#ports[i], store: this.cluster.url, ...options }
    const started = this.keep(await startRegistryProcess(given))
    this.registries[i] = started
    if (this.#adminToken === '') this.#adminToken = readFileSync(joinPath(dataDir, 'admin-token'), 'utf8').trim()
    return started
  }

  async startAll(options: object = {}): Promise<void> {
    for (let i = 0; i < this.#ports.length; i++) await this.start(i, options)
  }

  /** For requests of an operator to registry `i`. */
  admin(i: number): Registry {
    return { ...this.registries[i]!.ready, adminToken: this.#adminToken } as unknown as Registry
  }

  async token(service: string, uses = 1): Promise<string> {
    const answer = await request(this.admin(0), 'POST', '/v1/tokens', { admin: true, body: { service, uses } })
    if (answer.status !== 201) throw new Error(answer.text)
    return answer.json.token
  }

  async credentials(service: string): Promise<Credentials> {
    return join(this.admin(0), service, await this.token(service))
  }
}

/** Sessions in turn at these registries; by default at all. */
export async function openSessionsAt(
  { registries }: SharedStore,
  n: number,
  own: (i: number) => readonly [string, Credentials],
  at: readonly number[] = registries.map((_, i) => i),
): Promise<Session[]> {
  const opened = await Promise.all(
    at.map((registry, turn) => {
      const count = Math.ceil((n - turn) / at.length)
      return openSessions(registries[registry]!.ready, count, (i) => own(i * at.length + turn))
    }),
  )
  return Array.from({ length: n }, (_, i) => opened[i % at.length]![Math.floor(i / at.length)]!)
}
