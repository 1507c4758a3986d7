/**
 * Requests of node:http and node:https, whatever agent they have: each agent gets them by one
 * method, which Node calls for each request.
 */
import { Agent, type ClientRequest } from 'node:http'
import type { Mesh } from '../mesh/mesh.ts'
import { isOwn } from '../net/own.ts'
import type { AutoHost } from './auto-host.ts'

interface RequestOptions {
  readonly host?: string | null
  readonly socketPath?: string | null
}

interface AnyAgent {
  addRequest(request: ClientRequest, options: RequestOptions, ...more: unknown[]): void
}

/** Members that Node's types leave out. */
interface Hidden {
  agent: unknown
  onSocket(socket: null, error: Error): void
}

export class Agents {
  readonly #host: AutoHost
  #mesh: { readonly of: Mesh; readonly agent: AnyAgent } | undefined

  constructor(host: AutoHost) {
    this.#host = host
  }

  install(): void {
    const prototype = Agent.prototype as unknown as AnyAgent
    const { addRequest } = prototype
    const take = (request: ClientRequest, options: RequestOptions, pass: () => void): void =>
      this.#take(request, options, pass)
    prototype.addRequest = function (request, options, ...more) {
      const pass = (): void => addRequest.call(this, request, options, ...more)
      if (isOwn(this)) pass()
      else take(request, options, pass)
    }
  }

  #take(request: ClientRequest, options: RequestOptions, pass: () => void): void {
    const { services, report } = this.#host
    const host = options?.socketPath ? undefined : options?.host
    // The agent of the mesh itself names no host.
    if (typeof host !== 'string') {
      pass()
      return
    }
    const found = services.find(host)
    const otherwise = (): void => {
      report.passed(host, 'http')
      pass()
    }
    if (found === undefined) otherwise()
    else if (typeof found === 'string' && this.#host.mesh.current !== undefined) this.#send(request, options, found)
    else {
      this.#later(request, options, found, otherwise).catch((error: Error) => {
        ;(request as unknown as Hidden).onSocket(null, error)
      })
    }
  }

  async #later(
    request: ClientRequest,
    options: RequestOptions,
    found: string | Promise<string | undefined>,
    otherwise: () => void,
  ): Promise<void> {
    const service = await found
    if (service === undefined) {
      otherwise()
      return
    }
    await this.#host.mesh.join()
    this.#send(request, options, service)
  }

  #send(request: ClientRequest, options: RequestOptions, service: string): void {
    const agent = this.#meshed()
    // It frees the connection there when the answer is over.
    ;(request as unknown as Hidden).agent = agent
    this.#host.report.called(service, 'http')
    agent.addRequest(request, { ...options, host: `${service}.mesh` })
  }

  #meshed(): AnyAgent {
    const current = this.#host.mesh.current!
    if (this.#mesh?.of !== current) this.#mesh = { of: current, agent: current.agent() as unknown as AnyAgent }
    return this.#mesh.agent
  }
}
