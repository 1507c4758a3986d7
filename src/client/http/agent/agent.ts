/**
 * `mesh.agent`: an agent of `node:http` and `node:https`, for all that is built on them. Requests
 * to services become calls of the mesh; Node's own agents have the others.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import http, { type ClientRequest, type Agent as HttpAgent } from 'node:http'
import https, { Agent as HttpsAgent } from 'node:https'
import type { Duplex } from 'node:stream'
import { inspect } from 'node:util'
import type { HttpService } from '../call.ts'
import type { FindHost } from '../service-hosts.ts'
import { type InContext, WireSocket } from '../wire/socket.ts'
import type { MeshAgentSettings } from './options.ts'

/** What Node hands to an agent: the options of the request, as far as they are read here. */
interface AgentRequestOptions {
  readonly host?: string
  port?: unknown
  readonly socketPath?: string | null
  readonly timeout?: number
}

/** Ours have what is needed for a connection to a service. */
interface ServiceOptions {
  readonly service: HttpService
  readonly scheme: string
}

/** Members that Node's types leave out. */
interface Hidden {
  _last: boolean
  agent: HttpAgent
  onSocket(socket: null, error: Error): void
}

interface AnyAgent {
  readonly defaultPort?: number
  addRequest(request: ClientRequest, options: object): void
}

type Created = (error: Error | null, socket: Duplex) => void

/**
 * The port of a request that names none. One agent serves both schemes, so it cannot say 80 or 443,
 * and a number would look like one that the caller wrote. Node adds it to the host as text.
 */
const NO_PORT = Object.freeze({ [Symbol.toPrimitive]: () => '' })

export class MeshAgent extends HttpsAgent {
  readonly #find: FindHost
  readonly #settings: MeshAgentSettings
  // Those of now: this agent may take their place.
  readonly #others: { readonly http: HttpAgent; readonly https: HttpAgent }
  readonly #contexts = new WeakMap<ClientRequest, InContext>()

  constructor(find: FindHost, settings: MeshAgentSettings) {
    super({ keepAlive: true, maxSockets: settings.maxSockets })
    this.#find = find
    this.#settings = settings
    const { protocol, fallback } = settings
    this.#others = { http: fallback.http ?? http.globalAgent, https: fallback.https ?? https.globalAgent }
    // Node refuses a request whose scheme is not the agent's, unless the agent has none.
    const defaultPort = protocol === undefined ? NO_PORT : protocol === 'https:' ? 443 : 80
    Object.assign(this, { protocol, defaultPort })
  }

  /** Node calls it for each request, once its options are known. */
  addRequest(request: ClientRequest, options: AgentRequestOptions): void {
    try {
      const service = options.socketPath ? undefined : this.#find(options.host ?? 'localhost')
      if (service === undefined) {
        this.#passOn(request, options)
        return
      }
      completeHost(request)
      this.#contexts.set(request, AsyncLocalStorage.snapshot())
      const scheme = request.protocol
      addRequest.call(this, request, { service, scheme, servername: '', timeout: options.timeout })
    } catch (error) {
      ;(request as unknown as Hidden).onSocket(null, error as Error)
    }
  }

  override getName(options?: object): string {
    const service = (options as Partial<ServiceOptions> | undefined)?.service
    return service === undefined ? super.getName(options) : service.service
  }

  override createConnection(options: object, created?: Created): Duplex {
    const { service, scheme } = options as ServiceOptions
    const socket = new WireSocket(service, this.#settings.call, scheme, (request) => {
      request.once('finish', () => socket.requestEnded())
      return this.#contexts.get(request)
    })
    created?.(null, socket)
    return socket
  }

  /** Errors of clients hold the agent, and loggers print all that it holds. */
  toJSON(): { readonly name: 'MeshAgent' } {
    return { name: 'MeshAgent' }
  }

  [inspect.custom](): string {
    return 'MeshAgent {}'
  }

  /** To the agent that it would have had without us. */
  #passOn(request: ClientRequest, options: AgentRequestOptions): void {
    const secure = request.protocol === 'https:'
    const other = secure ? this.#others.https : this.#others.http
    const { defaultPort = secure ? 443 : 80 } = other as unknown as AnyAgent
    if (options.port === NO_PORT) {
      completeHost(request)
      options.port = defaultPort
    }
    const hidden = request as unknown as Hidden
    // As Node decides for a request before it knows what agent we choose.
    const reuses = (other as { keepAlive?: boolean }).keepAlive === true || Number.isFinite(other.maxSockets)
    if (request.shouldKeepAlive) {
      request.shouldKeepAlive = reuses
      hidden._last = !reuses
    }
    hidden.agent = other
    ;(other as unknown as AnyAgent).addRequest(request, options)
  }
}

const { addRequest } = HttpsAgent.prototype as unknown as AnyAgent

/** Node has written `host:` where there is no port. */
function completeHost(request: ClientRequest): void {
  const host = request.getHeader('host')
  if (typeof host === 'string' && host.endsWith(':') && !request.headersSent) {
    request.setHeader('Host', host.slice(0, -1))
  }
}
