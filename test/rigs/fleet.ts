/** Several registries in this process on one store in memory, and sessions with them. */
import type { RegistryOptions } from '../../src/registry/options.ts'
import { startRegistryOn } from '../../src/registry/registry.ts'
import type { Registry } from '../../src/registry/running-registry.ts'
import { MemoryStorage } from '../../src/registry/storage/memory.ts'
import { type Answer, type Credentials, join, request, TestSession } from './registry-session.ts'
import { StorageView } from './storage-view.ts'

export interface Member {
  readonly id: string
  readonly registry: Registry
  readonly view: StorageView
}

export class TestFleet {
  readonly store = new MemoryStorage()
  readonly members: Member[] = []
  readonly #options: RegistryOptions
  readonly #sessions = new Set<TestSession>()
  readonly #credentials = new Map<string, Credentials>()
  #started = 0

  constructor(options: RegistryOptions = {}) {
    this.#options = { port: 0, dev: true, log: false, joinsPerSecond: 1_000, ...options }
  }

  /** `protocol`: the newest of the session that it speaks. */
  async start(id = `r${++this.#started}`, protocol?: number, port = 0): Promise<Member> {
    const view = new StorageView(this.store)
    const member = { id, view, registry: await startRegistryOn(view, id, { ...this.#options, port }, protocol) }
    this.members.push(member)
    return member
  }

  /** One that dies without a word: the store takes it for dead at once. */
  async kill({ view, registry }: Member): Promise<void> {
    await view.close()
    await registry.close()
  }

  /** A process of `service`: at each registry it has the same certificate. */
  async session(
    { registry }: Member,
    service: string,
    greeting?: Parameters<typeof TestSession.open>[3],
  ): Promise<TestSession> {
    let credentials = this.#credentials.get(service)
    if (credentials === undefined) {
      credentials = await join(registry, service)
      this.#credentials.set(service, credentials)
    }
    const session = await TestSession.open(registry, service, credentials, greeting)
    this.#sessions.add(session)
    return session
  }

  /** All that were opened. */
  get sessions(): Iterable<TestSession> {
    return this.#sessions
  }

  ask({ registry }: Member, path: string, method = 'GET', body?: object): Promise<Answer> {
    return request(registry, method, path, body === undefined ? {} : { body })
  }

  async close(): Promise<void> {
    for (const session of this.#sessions) session.close()
    await Promise.all(this.members.map(({ registry }) => registry.close()))
    await this.store.close()
  }
}
