/** Which hosts are services of the mesh. */
import { bareHost } from '../net/bare-host.ts'
import { SERVICE_NAME } from '../options/names.ts'

const SUFFIX = '.mesh'
/** How long an answer of the registry holds, when every service that it knows is meant. */
const KEPT_MS = 10_000
const MOST = 1_000

interface Answer {
  readonly service: string | undefined
  readonly until: number
}

export class ServiceHosts {
  readonly #listed: ReadonlySet<string> | undefined
  readonly #knows: (service: string) => Promise<boolean>
  /** By host, when every known service is meant. */
  readonly #answers = new Map<string, Answer>()

  /** `knows`: whether the registry knows instances of a service. */
  constructor(services: readonly string[] | 'all', knows: (service: string) => Promise<boolean>) {
    this.#listed = services === 'all' ? undefined : new Set(services)
    this.#knows = knows
  }

  /** `undefined`: not of the mesh. A promise: the registry has to be asked. Never rejects. */
  find(given: string): string | undefined | Promise<string | undefined> {
    const host = bareHost(given)
    const named = this.#named(host)
    if (named !== undefined || this.#listed !== undefined || !mayBeService(host)) return named
    const answer = this.#answers.get(host)
    if (answer !== undefined && answer.until > performance.now()) return answer.service
    return this.#ask(host)
  }

  #named(host: string): string | undefined {
    if (!host.endsWith(SUFFIX)) return this.#listed?.has(host) ? host : undefined
    const name = host.slice(0, -SUFFIX.length)
    return SERVICE_NAME.test(name) ? name : undefined
  }

  async #ask(host: string): Promise<string | undefined> {
    const service = (await this.#knows(host)) ? host : undefined
    if (this.#answers.size >= MOST) this.#answers.clear()
    this.#answers.set(host, { service, until: performance.now() + KEPT_MS })
    return service
  }
}

function mayBeService(host: string): boolean {
  return host !== 'localhost' && SERVICE_NAME.test(host) && !/^\d+$/.test(host)
}
