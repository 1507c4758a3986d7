/** Where a request goes: to a service through the mesh, or as it would without it. */
import type { Mesh } from '../mesh/mesh.ts'
import type { AutoHost } from './auto-host.ts'

/** What becomes of one request. */
export interface Ways<C, R> {
  /** Through `client`, to `service`. */
  send(client: C, service: string): R
  /** As without the mesh. */
  pass(): R
  /** The mesh cannot take it. */
  fail(error: Error): void
  /** It is not known yet, or the mesh does not take calls yet. */
  wait(): R
}

/** `C`: the client of a mesh, one for all requests. */
export class ServiceCalls<C> {
  readonly #host: AutoHost
  readonly #by: string
  readonly #make: (mesh: Mesh) => C
  #client: { readonly of: Mesh; readonly client: C } | undefined

  /** `by`: what sends them, for people. */
  constructor(host: AutoHost, by: string, make: (mesh: Mesh) => C) {
    this.#host = host
    this.#by = by
    this.#make = make
  }

  take<R>(host: string, ways: Ways<C, R>): R {
    const found = this.#host.services.find(host)
    if (found === undefined) return this.#pass(host, ways)
    const { current } = this.#host.mesh
    if (typeof found === 'string' && current !== undefined) return this.#send(current, found, ways)
    this.#later(host, found, ways).catch((error: Error) => ways.fail(error))
    return ways.wait()
  }

  async #later<R>(host: string, found: string | Promise<string | undefined>, ways: Ways<C, R>): Promise<void> {
    // Without a wait, so that the library loads before the program arms timers of the request.
    const service = typeof found === 'string' ? found : await found
    if (service === undefined) this.#pass(host, ways)
    else this.#send(await this.#host.mesh.open(), service, ways)
  }

  #pass<R>(host: string, ways: Ways<C, R>): R {
    this.#host.report.passed(host, this.#by)
    return ways.pass()
  }

  #send<R>(mesh: Mesh, service: string, ways: Ways<C, R>): R {
    if (this.#client?.of !== mesh) this.#client = { of: mesh, client: this.#make(mesh) }
    this.#host.report.called(service, this.#by)
    return ways.send(this.#client.client, service)
  }
}
