/** Requests of an operator to several registries: each to the next one that answers. */
import { RegistryApi, RegistryRefusal } from '../../../src/cli/registry-api.ts'

export class PlaneApi {
  readonly #urls: readonly string[]
  readonly #token: string
  #next = 0

  constructor(urls: readonly string[], token: string) {
    this.#urls = urls
    this.#token = token
  }

  at(url: string): RegistryApi {
    return new RegistryApi({ url: new URL(url), token: this.#token })
  }

  /** At the next registry. Rejects as its answer says, or because there is none. */
  call<T>(method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<T> {
    return this.at(this.#urls[this.#next++ % this.#urls.length]!).call<T>(method, path, body)
  }

  /** Until it is acknowledged. */
  async insist<T>(method: 'GET' | 'PUT' | 'POST', path: string, body?: unknown, timeoutMs = 60_000): Promise<T> {
    const until = performance.now() + timeoutMs
    for (;;) {
      try {
        return await this.call<T>(method, path, body)
      } catch (error) {
        if (isRefusal(error) || performance.now() > until) throw error
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  }
}

/** Trying again gives the same answer. */
export function isRefusal(error: unknown): boolean {
  return error instanceof RegistryRefusal && error.status < 500 && error.status !== 429
}
