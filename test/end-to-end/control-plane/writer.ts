/**
 * Applies policies and makes join tokens all the time, at one registry after another, and keeps a
 * ledger of what was acknowledged.
 */
import { eventually } from '../rig.ts'
import { isRefusal, type PlaneApi } from './plane-api.ts'

const PAUSE_MS = 150
/** Documents that are written in turn. */
const DOCUMENTS = 5

export class Writer {
  readonly #api: PlaneApi
  /** By service; `tried`: may be in force, too, because its answer was lost. */
  readonly #policies = new Map<string, { acknowledged: number; tried: number; version: number }>()
  readonly #tokens = new Set<string>()
  readonly #loops: Promise<void>[]
  /** Answers that a correct registry never gives. */
  readonly refusals: unknown[] = []
  acknowledged = 0
  unavailable = 0
  #stopped = false
  #paused = false
  readonly #writing = new Set<Promise<void>>()
  /** Writes that began before count no more. */
  #since = 0

  constructor(api: PlaneApi) {
    this.#api = api
    this.#loops = [this.#repeat((i) => this.#writePolicy(i)), this.#repeat(() => this.#makeToken())]
  }

  /** Waits for `more` acknowledged writes. */
  async writes(more = 4): Promise<void> {
    const from = this.acknowledged
    await eventually(`${more} writes are acknowledged`, () => this.acknowledged >= from + more, 60_000)
  }

  /** A backup was restored: writes that began before may be gone, whenever acknowledged. */
  forget(): void {
    this.#tokens.clear()
    this.#policies.clear()
    this.#since = performance.now()
  }

  /** Writes nothing more; resolves when the ledger has all answers. */
  async pause(): Promise<void> {
    this.#paused = true
    await Promise.all(this.#writing)
  }

  resume(): void {
    this.#paused = false
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#loops)
  }

  /** What of the ledger the registry at `url` lacks. */
  async missingAt(url: string): Promise<string[]> {
    const api = this.#api.at(url)
    const { tokens } = await api.get<{ tokens: { id: string }[] }>('/v1/tokens')
    const { policies } = await api.get<{ policies: { service: string; document: { timeout?: string } }[] }>(
      '/v1/policies',
    )
    const kept = new Set(tokens.map(({ id }) => id))
    const missing = [...this.#tokens].filter((id) => !kept.has(id)).map((id) => `token ${id}`)
    for (const [service, { acknowledged, tried }] of this.#policies) {
      const found = policies.find((one) => one.service === service)
      const inForce = Number.parseInt(found?.document.timeout ?? '0', 10)
      if (inForce < acknowledged || inForce > tried) {
        missing.push(`policy of ${service}: ${inForce} is in force, not ${acknowledged} to ${tried}`)
      }
    }
    return missing
  }

  async #repeat(write: (i: number) => Promise<void>): Promise<void> {
    for (let i = 1; !this.#stopped; i++) {
      if (!this.#paused) {
        const writing = this.#attempt(() => write(i))
        this.#writing.add(writing)
        await writing
        this.#writing.delete(writing)
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  }

  async #attempt(write: () => Promise<void>): Promise<void> {
    try {
      await write()
      this.acknowledged += 1
    } catch (error) {
      if (isRefusal(error)) this.refusals.push(error)
      else this.unavailable += 1
    }
  }

  async #writePolicy(i: number): Promise<void> {
    const service = `written-${i % DOCUMENTS}`
    const entry = this.#policies.get(service) ?? { acknowledged: 0, tried: 0, version: 0 }
    this.#policies.set(service, entry)
    entry.tried = i
    const path = `/v1/policies/${service}`
    const { version } = await this.#api.call<{ version: number }>('PUT', path, { service, timeout: `${i}ms` })
    if (this.#policies.get(service) !== entry) return
    // A version that comes again says that the one before was lost.
    if (version <= entry.version) this.refusals.push(`${service}: version ${version} after ${entry.version}`)
    entry.version = version
    entry.acknowledged = i
  }

  async #makeToken(): Promise<void> {
    const begun = performance.now()
    const { id } = await this.#api.call<{ id: string }>('POST', '/v1/tokens', { service: 'written', ttl: '1h' })
    if (begun >= this.#since) this.#tokens.add(id)
  }
}
