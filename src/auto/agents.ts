/**
 * Requests of node:http and node:https, whatever agent they have: each agent gets them by one
 * method, which Node calls for each request.
 */
import { Agent, type ClientRequest } from 'node:http'
import { isOwn } from '../net/own.ts'
import type { AutoHost } from './auto-host.ts'
import { ServiceCalls } from './service-calls.ts'

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
  readonly timeout?: number
  onSocket(socket: null, error?: Error): void
}

export class Agents {
  readonly #calls: ServiceCalls<AnyAgent>

  constructor(host: AutoHost) {
    this.#calls = new ServiceCalls(host, 'http', (mesh) => mesh.agent() as unknown as AnyAgent)
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
    const host = options?.socketPath ? undefined : options?.host
    // The agent of the mesh itself names no host.
    if (typeof host !== 'string') {
      pass()
      return
    }
    const hidden = request as unknown as Hidden
    let goOn: (() => boolean) | undefined
    const mayGoOn = (): boolean => goOn === undefined || goOn()
    this.#calls.take<void>(host, {
      send(agent, service) {
        if (!mayGoOn()) return
        // It frees the connection there when the answer is over.
        hidden.agent = agent
        agent.addRequest(request, { ...options, host: `${service}.mesh` })
      },
      pass: () => {
        if (mayGoOn()) pass()
      },
      fail: (error) => {
        if (mayGoOn()) hidden.onSocket(null, error)
      },
      wait() {
        goOn = timed(request, hidden)
      },
    })
  }
}

/**
 * The request's own timeout runs from now on, which Node starts with its connection. Returns how to
 * end the wait: `false` if the application has given up.
 */
function timed(request: ClientRequest, hidden: Hidden): () => boolean {
  const { timeout = 0 } = hidden
  let waits = true
  const late = (): void => {
    request.emit('timeout')
    if (!waits || !request.destroyed) return
    waits = false
    hidden.onSocket(null)
  }
  const timer = timeout > 0 ? setTimeout(late, timeout).unref() : undefined
  const stop = (): void => clearTimeout(timer)
  request.once('response', stop).once('close', stop)
  return () => {
    const did = waits
    waits = false
    return did
  }
}
