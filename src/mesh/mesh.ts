/** A process in the mesh, as users see it. Membership, destinations and servers do the work. */
import type { Agent } from 'node:https'
import type { Socket } from 'node:net'

import type { Destination } from '../client/destination.ts'
import { type GrpcClient, type GrpcClientClass, type GrpcClientOptions, makeGrpcClient } from '../client/grpc/client.ts'
import { type GrpcChannelOptions, makeGrpcChannel } from '../client/grpc/override.ts'
import { MeshAgent } from '../client/http/agent/agent.ts'
import { type MeshAgentOptions, resolveAgent } from '../client/http/agent/options.ts'
import { type MeshRequest, makeRequest } from '../client/http/agent/request.ts'
import { HttpClient } from '../client/http/client.ts'
import {
  type MeshDispatcher,
  type MeshDispatcherOptions,
  makeDispatcher,
} from '../client/http/dispatcher/dispatcher.ts'
import { type HttpFetchOptions, type MeshFetch, makeFetch } from '../client/http/fetch/fetch.ts'
import { checkClientOptions, type HttpClientOptions } from '../client/http/options.ts'
import { findHosts, serviceOf } from '../client/http/service-hosts.ts'
import type { HttpTransport } from '../client/http/transport.ts'
import { type Connector, makeConnector } from '../client/http/wire/create-connection.ts'
import type { ConnectorOptions } from '../client/http/wire/options.ts'
import { type ConnectOptions, resolveConnect } from '../client/tcp/options.ts'
import { MeshSocket } from '../client/tcp/socket.ts'
import type { WebSocketOptions } from '../client/websocket/options.ts'
import { makeWebSocket } from '../client/websocket/web-socket.ts'
import { type Clock, sleep } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import type { MeshState } from '../core/mesh-state.ts'
import type { ExplainOptions } from '../discovery/explain-request.ts'
import type { Explanation } from '../discovery/explanation.ts'
import type { Instance } from '../discovery/instance.ts'
import { OptionsError, show } from '../options/fields.ts'
import type { OpossumCircuit } from '../resilience/opossum-circuit.ts'
import type { Application, HttpHandler } from '../server/http/application.ts'
import type { ListeningServer } from '../server/listening-server.ts'
import type { TcpHandler } from '../server/tcp/call.ts'
import { type Admin, startAdmin } from '../telemetry/admin.ts'
import type { EventRecord } from '../telemetry/events.ts'
import { type MetricsOptions, resolveMetricsOptions } from '../telemetry/metrics-options.ts'
import { type PromClientRegistry, registerWith } from '../telemetry/prom-client-registry.ts'
import type { TrafficReporter } from '../telemetry/traffic/traffic-reporter.ts'
import { adminPages } from './admin-pages.ts'
import type { MeshContext } from './context.ts'
import { Destinations } from './destinations.ts'
import { explainCall } from './explain.ts'
import { registerGauges } from './gauges.ts'
import type { ListenArguments } from './listen-arguments.ts'
import { Membership } from './membership.ts'
import type { GrpcServing, MeshServer, NiceGrpcServing } from './mesh-server.ts'
import { reach } from './reach.ts'
import type { ListenOptions, ServeGrpcOptions, ServeOptions } from './serve-options.ts'
import { Servers } from './servers.ts'
import { closeOnSignal } from './signals.ts'
import { tapCalls } from './tap.ts'
import { type TokenIdentity, type TokenOptions, Tokens, type VerifyTokenOptions } from './tokens.ts'
import { reportTraffic } from './traffic.ts'

/** How often a drain checks whether our own calls have ended. */
const LOOK_MS = 20

/** A process in the mesh; made by `joinMesh`. */
export class Mesh {
  readonly #shared: MeshContext
  readonly #membership: Membership
  readonly #destinations: Destinations
  readonly #servers: Servers
  readonly #tokens: Tokens
  readonly #traffic: TrafficReporter | undefined
  /**
   * A drop-in for `fetch` whose host is a service name, such as `http://inventory/items/42`;
   * rejects with a `MeshError` where the built-in one rejects with a `TypeError`. It may be handed
   * on by itself, also to code that takes a `typeof fetch`. Its further options are those of
   * {@link MeshFetchInit}: `timeout`, `idempotent`, `retry`, `key`, `streaming`, `idleTimeout`.
   */
  readonly fetch: MeshFetch
  /**
   * Node's `http.request` whose host is a service name. Errors arrive as its `error` event. Other
   * hosts (with a dot or colon, and `localhost`) go as `http.request` and `https.request` send
   * them. It may be handed on by itself.
   *
   * @throws OptionsError for `agent` and `createConnection`
   * @example
   * ```ts
   * mesh.request('http://inventory/items/42', (response) => response.pipe(process.stdout)).end()
   * ```
   */
  readonly request: MeshRequest
  readonly #cleanUp: (() => unknown)[] = []
  #admin: Admin | undefined
  #closing: Promise<void> | undefined
  #closed = false

  /** @internal */
  constructor(shared: MeshContext) {
    this.#shared = shared
    this.#membership = new Membership(shared, {
      policyChanged: (service) => {
        this.#servers.policyChanged(service)
        this.#destinations.policyChanged(service)
      },
      endpointsChanged: (service, endpoints) => this.#destinations.endpointsChanged(service, endpoints),
      begun: (registry) => this.#servers.begun(registry),
      trafficAsked: (everyMs) => this.#traffic?.greeted(everyMs),
      tap: (message) => tapCalls(shared, this.#membership, message),
      connected: () => this.#servers.globalRate?.announce(),
      quota: (lease) => this.#servers.globalRate?.grant(lease),
    })
    this.#destinations = new Destinations(shared, this.#membership)
    this.#servers = new Servers(shared, this.#membership)
    this.#traffic = reportTraffic(shared, this.#membership, this.#destinations)
    this.#tokens = new Tokens(shared)
    this.fetch = makeFetch((name) => this.#destinations.http(name))
    let agent: MeshAgent | undefined
    this.request = ((...given: Parameters<MeshRequest>) => {
      agent ??= this.#agent({ services: (host) => serviceOf(host) })
      return makeRequest(agent)(...given)
    }) as MeshRequest
  }

  /** The name of this service. */
  get service(): string {
    return this.#shared.settings.service
  }

  /**
   * Our SPIFFE id, `spiffe://<trust domain>/service/<name>`. @throws MeshError while there is none
   * (`startWithoutRegistry`)
   */
  get spiffeId(): string {
    return this.#shared.identity.current.spiffeId
  }

  /** Whether what is in force comes from the disk, because no registry has answered yet. */
  get stale(): boolean {
    return this.#membership.stale
  }

  /** @internal The addresses of the registry. */
  get registries(): readonly string[] {
    return this.#shared.settings.registry
  }

  /** @internal Whether `close` has begun. */
  get leaving(): boolean {
    return this.#closing !== undefined
  }

  /**
   * Whether this process is in the mesh: `starting`, `ready`, `closing` or `closed`. Probes of
   * readiness ask it.
   *
   * @example
   * ```ts
   * app.get('/readyz', (_req, res) => res.status(mesh.state === 'ready' ? 200 : 503).end(mesh.state))
   * ```
   */
  get state(): MeshState {
    if (this.#closed) return 'closed'
    if (this.#closing !== undefined || this.#servers.leaving) return 'closing'
    return this.#shared.identity.present ? 'ready' : 'starting'
  }

  /** Port of the admin listener; `undefined` if there is none. */
  get adminPort(): number | undefined {
    return this.#admin?.port
  }

  /**
   * The client of a service. Cheaper than {@link Mesh.fetch}; the same policies.
   *
   * @throws OptionsError if `service` is no service name
   * @throws MeshError `closed`
   * @example
   * ```ts
   * const inventory = mesh.http('inventory')
   * const item = await (await inventory.get('/items/42', { timeout: '300ms' })).json()
   * ```
   */
  http(service: string, options?: HttpClientOptions): HttpClient {
    const checked = options === undefined ? undefined : checkClientOptions(options)
    const found = this.#httpService('mesh.http', service)
    return new HttpClient(found, checked?.filters, checked?.sharing, checked?.idleMs)
  }

  /**
   * An ordinary gRPC client of the class given (generated by grpc-tools or ts-proto, or loaded by
   * `@grpc/proto-loader`), whose calls go through the mesh; `promises` has its methods once more
   * for `await` and `for await`. Failures are grpc-js's `ServiceError`, with a `MeshError` as
   * `cause`. Needs the package `@grpc/grpc-js`.
   *
   * @throws OptionsError naming each wrong argument, or because there is no grpc-js
   * @throws MeshError `closed`
   * @example
   * ```ts
   * const inventory = mesh.grpc(InventoryClient, 'inventory')
   * inventory.get({ sku: 'a' }, (error, stock) => { … })
   * const stock = await inventory.promises.get({ sku: 'a' }, { timeout: '300ms', signal })
   * for await (const change of inventory.promises.watch({ sku: 'a' })) { … }
   * ```
   */
  // biome-ignore lint/suspicious/noExplicitAny: a class of type `any` makes an `any` client
  grpc<C extends object = any>(
    client: GrpcClientClass<C>,
    service: string,
    options?: GrpcClientOptions,
  ): GrpcClient<C> {
    const found = this.#destinations.grpc(service)
    if (found === undefined) {
      throw wrongServiceName(
        'mesh.grpc',
        service,
        typeof service === 'function' ? '; the order is (Client, service)' : '',
      )
    }
    return makeGrpcClient(client, found, options, (name) => this.#destinations.grpc(name)!)
  }

  /**
   * A channel of grpc-js through the mesh, for clients that {@link Mesh.grpc} cannot construct: of
   * nice-grpc, of protobuf-ts, and what takes a `channelOverride`. With `definitions` the mesh
   * knows the kinds of the methods; without them all calls count as streams. Needs
   * `@grpc/grpc-js`.
   *
   * @throws OptionsError naming each wrong argument, or because there is no grpc-js
   * @throws MeshError `closed`
   * @example
   * ```ts
   * const channel = mesh.grpcChannel('inventory', { definitions: InventoryDefinition })
   * const inventory = createClient(InventoryDefinition, channel) // of nice-grpc
   * ```
   */
  // biome-ignore lint/suspicious/noExplicitAny: grpc-js's `Channel`, whose types are not needed here
  grpcChannel<C extends object = any>(service: string, options?: GrpcChannelOptions): C {
    const found = this.#destinations.grpc(service)
    if (found === undefined) throw wrongServiceName('mesh.grpcChannel', service)
    return makeGrpcChannel(found, options, (name) => this.#destinations.grpc(name)!) as object as C
  }

  /**
   * A WebSocket to a service, with the standard interface. Its handshake goes through every policy
   * that a request does; then it counts as a call in flight until it closes. The `error` event has
   * the reason, a `MeshError` if it is the mesh's.
   *
   * @throws OptionsError naming each wrong argument, MeshError `closed`
   * @example
   * ```ts
   * const room = mesh.webSocket('chat', '/rooms/42', { protocols: 'chat.v1' })
   * room.addEventListener('message', ({ data }) => console.log(data))
   * room.addEventListener('close', ({ code }) => console.log(code)) // 1001: it drains, connect anew
   * ```
   */
  webSocket(service: string, path = '/', options?: WebSocketOptions): WebSocket {
    return makeWebSocket(this.#httpService('mesh.webSocket', service), path, options)
  }

  /**
   * For a library that writes its own HTTP/1.1 to a connection that it is given, such as `ws`. For
   * what is built on `node:http` there is {@link Mesh.agent}.
   *
   * @throws OptionsError naming each wrong argument, MeshError `closed`
   * @example
   * ```ts
   * import { WebSocket } from 'ws'
   * const room = new WebSocket('ws://chat/rooms/42', { createConnection: mesh.createConnection('chat') })
   * ```
   */
  createConnection(service: string, options?: ConnectorOptions): Connector {
    return makeConnector(this.#httpService('mesh.createConnection', service), options)
  }

  /**
   * A TCP connection to an instance of `service`, over mTLS: a Duplex with the members of
   * `net.Socket`, so that clients of databases take it. It connects behind, and tries other
   * instances until one admits it; then `connect` is emitted, or `error` with a `MeshError`.
   *
   * @throws OptionsError naming each wrong option, MeshError `closed`
   * @example
   * ```ts
   * const client = new pg.Client({ user: 'app', stream: () => mesh.connect('postgres') })
   * ```
   */
  connect(service: string, options?: ConnectOptions): Socket {
    const settings = resolveConnect(options)
    const found = this.#destinations.tcp(service)
    if (found === undefined) throw wrongServiceName('mesh.connect', service)
    return new MeshSocket(found, settings) as unknown as Socket
  }

  /** A `fetch` with its options bound, for code that takes a `fetch`. */
  fetchWith(options: HttpFetchOptions): MeshFetch {
    return makeFetch((name) => this.#destinations.http(name), options)
  }

  /**
   * For code that speaks undici, or through `setGlobalDispatcher` the built-in `fetch`: hosts that
   * end in `.mesh` go through the mesh.
   *
   * @example
   * ```ts
   * setGlobalDispatcher(mesh.dispatcher())
   * await fetch('http://inventory.mesh/items/42')
   * ```
   */
  dispatcher(options?: MeshDispatcherOptions): MeshDispatcher {
    this.#assertOpen()
    const dispatcher = makeDispatcher((name) => this.#destinations.http(name), options)
    // A caller that has stopped reading must not prevent the mesh from closing.
    this.#cleanUp.push(() => dispatcher.destroy())
    return dispatcher
  }

  /**
   * An agent of `node:http` and `node:https`, for what is built on them: got, axios, superagent,
   * node-fetch, SDKs. Requests to hosts that end in `.mesh`, or that `services` lists, go through
   * the mesh; other hosts go as without it. A failure of the mesh is the `MeshError` of the
   * request's `error` event.
   *
   * @throws OptionsError naming each wrong option, MeshError `closed`
   * @example
   * ```ts
   * const agent = mesh.agent({ services: ['inventory'] })
   * const client = axios.create({ httpAgent: agent, httpsAgent: agent })
   * await client.get('http://inventory/items/42')
   * ```
   */
  agent(options?: MeshAgentOptions): Agent {
    this.#assertOpen()
    return this.#agent(options)
  }

  /**
   * Serves `handler` and registers it as an instance of this service. Resolves when it listens and
   * the registry knows it; without a registry, when it listens, and it is registered as soon as
   * there is one. Only a `plaintext` server can listen before this process has its first
   * certificate (`startWithoutRegistry`); the others wait for it.
   *
   * @throws OptionsError naming each wrong option, MeshError `registry-refused`, or the system's
   * error if it cannot listen
   */
  async serve(handler: HttpHandler, options?: ServeOptions): Promise<MeshServer> {
    this.#assertOpen()
    return this.#servers.serve(handler, options)
  }

  /** @internal The same for a server of the application that listens itself. */
  async takeHttp(application: Application, taken: ListeningServer, options: ServeOptions): Promise<MeshServer> {
    this.#assertOpen()
    return this.#servers.serve(application, options, taken)
  }

  /** @internal The same for gRPC. */
  async takeGrpc(server: GrpcServing, taken: ListeningServer, options: ServeGrpcOptions): Promise<MeshServer> {
    this.#assertOpen()
    return this.#servers.serveGrpc(server, options, taken)
  }

  /**
   * The same for a grpc-js `Server`, to which the services have been added and which has not been
   * bound to a port: the mesh listens for it. The standard health service is added, unless it has
   * one. A server of nice-grpc is served in place of its `listen()`.
   *
   * @throws OptionsError naming each wrong option, MeshError `registry-refused`, or the system's
   * error if it cannot listen
   * @example
   * ```ts
   * const server = new Server()
   * server.addService(InventoryService, { get: (call, callback) => callback(null, { left: 7 }) })
   * await mesh.serveGrpc(server, { port: 9090 })
   * ```
   */
  async serveGrpc(server: GrpcServing | NiceGrpcServing, options?: ServeGrpcOptions): Promise<MeshServer> {
    this.#assertOpen()
    return this.#servers.serveGrpc(server, options)
  }

  /**
   * Serves TCP connections: to `handler`, or forwarded to `target`. `service` is our own. Callers
   * need an intention with `tcp: true`.
   *
   * @throws OptionsError naming each wrong option, MeshError `registry-refused`, or the system's
   * error if it cannot listen
   * @example
   * ```ts
   * const mesh = await joinMesh({ service: 'redis' })
   * await mesh.listen('redis', { target: '127.0.0.1:6379', maxConnections: 1_000 })
   * ```
   */
  listen(service: string, options: ListenOptions & { readonly target: string }): Promise<MeshServer>
  listen(service: string, handler: TcpHandler, options?: ListenOptions): Promise<MeshServer>
  async listen(service: string, ...given: ListenArguments): Promise<MeshServer> {
    this.#assertOpen()
    return this.#servers.listen(service, ...given)
  }

  /**
   * A token that says who we are, for a hop that carries no client certificate: a JWT-SVID, good
   * for one audience. Kept and reused until 80 % of its life are over.
   *
   * @throws OptionsError naming each wrong option
   * @throws MeshError `registry-unavailable` if no registry can be asked and there is no token at
   * hand, `registry-refused`, `closed`
   * @example
   * ```ts
   * const token = await mesh.token({ audience: 'https://partner.example' })
   * const headers = { authorization: `Bearer ${token}` }
   * await fetch('https://partner.example/orders', { headers })
   * ```
   */
  async token(options: TokenOptions): Promise<string> {
    this.#assertOpen()
    return this.#tokens.token(options)
  }

  /**
   * Who showed a token of this mesh. By default it must be meant for our own service, by its name
   * or its SPIFFE id.
   *
   * @throws MeshError `identity-rejected`, its `cause.reason` says why; `registry-unavailable`
   * while there are no keys to verify with
   * @example
   * ```ts
   * const bearer = request.headers.authorization?.replace(/^Bearer /, '') ?? ''
   * const { service } = await mesh.verifyToken(bearer)
   * ```
   */
  async verifyToken(token: string, options?: VerifyTokenOptions): Promise<TokenIdentity> {
    this.#assertOpen()
    return this.#tokens.verify(token, options)
  }

  /**
   * All metrics of this mesh: as Prometheus text (content type `text/plain; version=0.0.4`), or as
   * OpenMetrics text (`application/openmetrics-text; version=1.0.0`), which has exemplars.
   *
   * @throws OptionsError for another format
   * @example `response.setHeader('content-type', 'text/plain; version=0.0.4').end(mesh.metrics())`
   */
  metrics(options?: MetricsOptions): string {
    const { format } = resolveMetricsOptions(options)
    return format === 'openmetrics' ? this.#shared.metrics.openMetrics() : this.#shared.metrics.text()
  }

  /**
   * Shows all metrics of this mesh in a registry of `prom-client`, with those of the application,
   * until the mesh is closed or the returned function is called.
   *
   * @throws OptionsError if it is no such registry; what the registry throws if one of the names is
   * taken
   * @example
   * ```ts
   * import { register } from 'prom-client'
   * mesh.registerMetrics(register)
   * app.get('/metrics', async (_request, response) => response.end(await register.metrics()))
   * ```
   */
  registerMetrics(register: PromClientRegistry): () => void {
    this.#assertOpen()
    const remove = registerWith(register, this.#shared.metrics)
    this.#cleanUp.push(remove)
    return remove
  }

  /**
   * Where a request would go, and why: route, target, endpoints, policies, intention. Sends
   * nothing, like `inmesh explain`. @throws OptionsError naming each wrong option
   * @example `(await mesh.explain({ service: 'inventory', path: '/items/42' })).route`
   */
  async explain(options: ExplainOptions): Promise<Explanation> {
    this.#assertOpen()
    return explainCall(options, this.#shared.settings, this.#membership, this.#destinations)
  }

  /** The circuits of the services that this process calls: real opossum objects. */
  circuits(): readonly OpossumCircuit[] {
    return this.#destinations.circuits()
  }

  /** The last events, oldest first; the same as on `node:diagnostics_channel`. */
  events(): readonly EventRecord[] {
    return this.#shared.recent.recent()
  }

  /**
   * Takes all servers of this process out of the mesh without losing a request; calls of this
   * process go on, and no server can be added. For a process that closes more than the mesh:
   * drain first, then what the handlers need. {@link Mesh.close} begins with it. Never rejects.
   *
   * @example
   * ```ts
   * await mesh.drain()
   * await database.end()
   * await mesh.close()
   * ```
   */
  async drain(): Promise<void> {
    await this.#servers.leave()
  }

  /**
   * Leaves the mesh without losing a request: out of the pickers of all clients, then finish what
   * runs, then close everything. Resolves when nothing is left; safe to call more than once; never
   * rejects.
   */
  close(): Promise<void> {
    this.#closing ??= this.#leave()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @internal Of any protocol, as the registry knows them; asks it for `boundMs` at most. */
  async instancesOf(service: string, boundMs: number): Promise<readonly Instance[]> {
    const { clock } = this.#shared.settings
    const untilAt = clock.now() + boundMs
    if (this.#destinations.http(service) === undefined) return []
    for (;;) {
      const known = this.#membership.endpointsOf(service)
      if (known !== undefined && (known.instances.length > 0 || !known.stale)) return known.instances
      if (clock.now() >= untilAt) return []
      await sleep(clock, LOOK_MS)
    }
  }

  /** @internal Connects with our identity. `undefined`: it answers; otherwise why not. */
  reach(instance: Instance, boundMs: number): Promise<string | undefined> {
    return reach(instance, this.#shared.tcp, boundMs)
  }

  /** @internal A failed start closes what it has opened. */
  async start(untilAt: number, waits: Clock): Promise<void> {
    const { admin, handleSignals, startWithoutRegistry } = this.#shared.settings
    this.#destinations.joinUntilAt = untilAt
    try {
      this.#cleanUp.push(() => this.#shared.accessLog?.close())
      this.#cleanUp.push(registerGauges(this.#shared, this.#membership, this.#destinations, this.#servers))
      if (admin !== undefined) {
        const pages = adminPages(this.#shared, this.#membership, this.#destinations, () => this.#closing !== undefined)
        this.#admin = await startAdmin(admin, pages)
      }
      if (handleSignals) this.#cleanUp.push(closeOnSignal(() => this.close()))
      if (startWithoutRegistry) await this.#membership.joinWithoutRegistry(untilAt, waits)
      else await this.#membership.join(untilAt, waits)
    } catch (error) {
      this.#closing ??= this.#release(error)
      await this.#closing
      throw error
    }
  }

  #agent(options?: MeshAgentOptions): MeshAgent {
    const settings = resolveAgent(options)
    const agent = new MeshAgent(
      findHosts((name) => this.#destinations.http(name), settings.services),
      settings,
    )
    // A caller that has stopped reading must not prevent the mesh from closing.
    this.#cleanUp.push(() => agent.destroy())
    return agent
  }

  #httpService(what: string, service: string): Destination<HttpTransport> {
    const found = this.#destinations.http(service)
    if (found === undefined) throw wrongServiceName(what, service)
    return found
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) {
      throw new MeshError(`the mesh of ${this.service} was closed`, { code: 'closed', service: this.service })
    }
  }

  async #leave(): Promise<void> {
    const { clock, drainNoticeMs, drainTimeoutMs } = this.#shared.settings
    this.#shared.events.emit('drain:step', { step: 'leaving', running: this.#destinations.running })
    const untilAt = clock.now() + drainNoticeMs + drainTimeoutMs
    await this.#servers.leave()
    // Our own calls may outlive the requests that we served.
    for (;;) {
      // A WebSocket lasts until one side closes it.
      this.#shared.transport.goAway()
      if (this.#destinations.running === 0 || clock.now() >= untilAt) break
      await sleep(clock, LOOK_MS)
    }
    await this.#release()
  }

  /** `why`: of calls that wait until it has joined. */
  async #release(why?: unknown): Promise<void> {
    await this.#servers.close()
    this.#traffic?.close()
    this.#shared.taps.endAll()
    this.#destinations.close(why)
    await this.#membership.close()
    await Promise.allSettled(this.#cleanUp.splice(0).map(async (cleanUp) => cleanUp()))
    await this.#admin?.close()
    this.#closed = true
  }
}

function wrongServiceName(what: string, service: unknown, hint = ''): OptionsError {
  const expected = "expected a service name: 1 to 63 lower-case letters, digits and '-'; 'mesh' is reserved"
  return new OptionsError(what, [{ path: ['service'], message: `${expected}, got ${show(service)}${hint}` }])
}
