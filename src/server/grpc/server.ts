/**
 * The gRPC server door: an ordinary grpc-js `Server` behind mutual TLS, authorization, deadlines
 * and limits, with certificates that rotate under traffic and a drain that loses nothing.
 * Connections are in `acceptor.ts`, one call in `call.ts`.
 */
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Stream, Settings } from 'node:http2'
import type { Socket } from 'node:net'
import type * as grpc from '@grpc/grpc-js'
import type { Route } from '../../core/call.ts'
import { inboundCall } from '../../core/context.ts'
import { LONGEST_TIMEOUT_MS } from '../../core/deadline.ts'
import { MeshError } from '../../core/errors.ts'
import { GRPC_STATUS } from '../../core/status.ts'
import { GUARDED_SERVER } from '../../net/http2-flood-guard.ts'
import { OptionsError, show } from '../../options/fields.ts'
import { OLDEST_GRPC, requirePeer } from '../../options/optional-peer.ts'
import { connectionOf } from '../connection.ts'
import { runUserCode } from '../guarded-emitter.ts'
import { assertIdentity, ServerBase, type ServerBaseDependencies } from '../server-base.ts'
import { GrpcAcceptor, type GrpcAcceptorHost } from './acceptor.ts'
import { GrpcServerCall, type GrpcServerCallHost } from './call.ts'
import { type StreamListener, withEndReplayed } from './ended-stream.ts'
import { type CallKind, guardHandler, type Handler } from './handler.ts'
import { readGrpcHead } from './headers.ts'
import { GrpcHealth } from './health.ts'
import { type GrpcServerOptions, type GrpcServerSettings, resolveGrpcServer } from './options.ts'
import { respond } from './response.ts'

/**
 * Of one connection at once, unless the `Server` says otherwise (`grpc.max_concurrent_streams`);
 * more wait in the client.
 */
const MOST_STREAMS = 1_000

/**
 * What grpc-js keeps for itself, and its adapter needs: pinned by tests against the oldest and the
 * newest version that we take.
 */
interface Internals {
  readonly http2Servers: ReadonlyMap<Http2Server, unknown>
  readonly options: Readonly<Record<string, unknown>>
  readonly shutdown: boolean
  /** Of the application; the last is the outermost. */
  interceptors?: readonly grpc.ServerInterceptor[]
  /** Whether what it makes from now on is counted for channelz. */
  channelzEnabled: boolean
  /** Options of the HTTP/2 servers that it makes. */
  readonly commonServerOptions: { settings?: Settings }
  readonly handlers: ReadonlyMap<string, Handler>
}

/** A stream that has just begun. */
interface Begun {
  readonly stream: ServerHttp2Stream
  readonly headers: IncomingHttpHeaders
  readonly raw: readonly string[]
}

/**
 * Listens, and resolves with the running server.
 *
 * @throws OptionsError for wrong options, or without grpc-js; the system's error if it cannot
 * listen
 * @example
 * ```ts
 * const server = await serveGrpc(grpcServer, { port: 9090 }, { service, identity, authorizer, stack })
 * await server.drain()
 * ```
 */
export async function serveGrpc(
  server: grpc.Server,
  options: GrpcServerOptions,
  dependencies: ServerBaseDependencies,
): Promise<GrpcServer> {
  const settings = resolveGrpcServer(options)
  assertIdentity(settings.mode, dependencies)
  const served = new GrpcServer(server, settings, dependencies)
  await served.listen()
  return served
}

/** A listening server; made by {@link serveGrpc}. */
export class GrpcServer extends ServerBase<GrpcServerCall> implements GrpcServerCallHost, GrpcAcceptorHost {
  readonly health: GrpcHealth
  protected readonly acceptor: GrpcAcceptor
  readonly #internals: Internals
  readonly #routes = new Map<string, Route>()
  readonly #injector: ReturnType<grpc.Server['createConnectionInjector']>
  readonly #passOn: StreamListener
  readonly #intercepted: boolean
  /** Of this turn of the loop. */
  #begun: Begun[] = []
  /** The one that is being handed to grpc-js right now. */
  #passing: GrpcServerCall | undefined = undefined

  constructor(server: grpc.Server, settings: GrpcServerSettings, dependencies: ServerBaseDependencies) {
    super(settings.faults, dependencies)
    const module = requirePeer<typeof grpc>('@grpc/grpc-js', OLDEST_GRPC, 'serveGrpc')
    assertServer(server, module)
    this.#internals = server as unknown as Internals
    const interceptors = this.#internals.interceptors ?? []
    this.#intercepted = interceptors.length > 0
    if (this.#intercepted) this.#internals.interceptors = [...interceptors, this.#guardStart]
    this.health = new GrpcHealth(server, currentHealth)
    const { injector, http2Server } = this.#adopt(server, module)
    this.#injector = injector
    const [listener] = http2Server.listeners('stream') as StreamListener[]
    this.#passOn = withEndReplayed(listener!)
    http2Server.removeAllListeners('stream')
    http2Server.on('stream', (stream, headers, _flags, raw) => this.#begin({ stream, headers, raw }))
    this.acceptor = new GrpcAcceptor(this, settings, dependencies.identity, dependencies.verifier)
    this.acceptor.attend(http2Server)
  }

  // What an exchange needs.

  get intercepted(): boolean {
    return this.#intercepted
  }

  pass(exchange: GrpcServerCall): void {
    this.#passing = exchange
    try {
      this.#passOn(exchange.stream, exchange.headers, 0)
    } finally {
      this.#passing = undefined
    }
  }

  // The drain, of which the health service tells.

  override retire(): void {
    this.health.stopServing()
    super.retire()
  }

  override stopAccepting(): void {
    this.health.end()
    super.stopAccepting()
  }

  override async closeConnections(): Promise<void> {
    await super.closeConnections()
    this.#injector.destroy()
  }

  // What an acceptor needs.

  inject(socket: Socket): void {
    this.#injector.injectConnection(socket)
  }

  /**
   * One turn of the loop late: the streams of a flood are reset, or their session is gone, before a
   * handler hears of them.
   */
  #begin(begun: Begun): void {
    // Before that turn its session may fail, and an error that nobody hears ends the process.
    begun.stream.on('error', ignore)
    if (this.#begun.push(begun) === 1) setImmediate(openAll, this)
  }

  /** @internal */
  openAll(): void {
    const begun = this.#begun
    this.#begun = []
    for (let i = 0; i < begun.length; i++) this.#open(begun[i]!)
  }

  #open({ stream, headers, raw }: Begun): void {
    // Gone already, or of a session that nobody has judged.
    if (stream.destroyed || stream.closed) return
    const session = stream.session
    const connection = session === undefined ? undefined : connectionOf(session)
    if (connection === undefined) {
      stream.close()
      return
    }
    if (connection.flooded) return
    const head = readGrpcHead(headers, raw)
    if (typeof head === 'string') {
      this.events.emit('admission:refused', { side: 'server', code: 'protocol-error' })
      respond(stream, GRPC_STATUS.INTERNAL, head)
      return
    }
    const route = this.#routeOf(headers[':path'] ?? '')
    if (!route.streaming && head.timeoutMs !== undefined && head.timeoutMs > LONGEST_TIMEOUT_MS) {
      head.timeoutMs = LONGEST_TIMEOUT_MS
    }
    const exchange = new GrpcServerCall(this, connection, stream, headers, route, head)
    if (exchange.admit(this.health.answers(route.method))) exchange.run()
  }

  /**
   * grpc-js's server behind our listener: one that never listens itself and gives each call to the
   * exchange that is its own.
   */
  #adopt(
    server: grpc.Server,
    module: typeof grpc,
  ): {
    injector: ReturnType<grpc.Server['createConnectionInjector']>
    http2Server: Http2Server
  } {
    const interceptor: grpc.ServerInterceptor = (method, call) =>
      (this.#passing?.attach(call, kindOf(method), method.requestStream || this.intercepted) ??
        call) as unknown as grpc.ServerInterceptingCall
    const credentials = module.experimental.createServerCredentialsWithInterceptors(
      module.ServerCredentials.createInsecure(),
      [interceptor],
    )
    const options = this.#internals.commonServerOptions
    Object.assign(options, GUARDED_SERVER)
    options.settings = { maxConcurrentStreams: MOST_STREAMS, ...options.settings }
    const before = new Set(this.#internals.http2Servers.keys())
    // A twentieth of what a call costs, for those who have asked for it only; the mesh counts by
    // itself.
    const { channelzEnabled } = this.#internals
    this.#internals.channelzEnabled = this.#internals.options['grpc.enable_channelz'] === 1
    const injector = server.createConnectionInjector(credentials)
    this.#internals.channelzEnabled = channelzEnabled
    const http2Server = [...this.#internals.http2Servers.keys()].find((each) => !before.has(each))
    if (http2Server === undefined) {
      throw new MeshError('This version of @grpc/grpc-js is built otherwise than those that inmesh knows.', {
        code: 'protocol-error',
        service: this.service,
      })
    }
    return { injector, http2Server }
  }

  /** Outside of all others: grpc-js would let what they throw end the process. */
  readonly #guardStart: grpc.ServerInterceptor = (_method, call) => {
    const exchange = this.#passing
    if (exchange !== undefined) {
      const { start } = call
      call.start = (listener) => runUserCode(exchange, () => start.call(call, listener))
    }
    return call as grpc.ServerInterceptingCall
  }

  /** Paths that nobody serves share one, because they come from strangers. */
  #routeOf(path: string): Route {
    const handler = this.#internals.handlers.get(path)
    const method = handler === undefined ? UNKNOWN_METHOD : path
    let route = this.#routes.get(method)
    if (route === undefined) {
      if (handler !== undefined) guardHandler(handler, exchangeOf)
      const streaming = handler !== undefined && handler.type !== 'unary'
      route = Object.freeze({ service: this.service, method, protocol: 'grpc', streaming, idempotent: false })
      this.#routes.set(method, route)
    }
    return route
  }
}

/** Channel options of a `Server` that its own connections would need, and what to do instead. */
const REFUSED_OPTIONS: Readonly<Record<string, string>> = {
  'grpc-node.tls_enable_trace': "TLS is the mesh's; NODE_DEBUG=tls traces it",
}

/** @throws OptionsError */
function assertServer(server: grpc.Server, { Server }: typeof grpc): void {
  const wrong = (message: string): OptionsError => new OptionsError('serveGrpc', [{ path: ['server'], message }])
  if (typeof (server as Partial<grpc.Server> | null)?.createConnectionInjector !== 'function') {
    throw wrong(`expected a Server of @grpc/grpc-js, got ${show(server)}`)
  }
  if (!(server instanceof Server)) {
    throw wrong('comes from another copy of @grpc/grpc-js than the one that inmesh found: npm ls @grpc/grpc-js')
  }
  // As `bindAsync` has it.
  if ((server as unknown as Internals).shutdown) {
    throw wrong('was shut down by tryShutdown() or forceShutdown(); serve a new Server')
  }
  for (const [name, hint] of Object.entries(REFUSED_OPTIONS)) {
    if ((server as unknown as Internals).options[name] === undefined) continue
    throw new OptionsError('serveGrpc', [{ path: ['server', name], message: `would have no effect: ${hint}` }])
  }
}

/** As the semantic conventions have it for methods that are not known. */
const UNKNOWN_METHOD = '_OTHER'

function kindOf({ requestStream, responseStream }: { requestStream: boolean; responseStream: boolean }): CallKind {
  if (requestStream) return responseStream ? 'bidi' : 'clientStream'
  return responseStream ? 'serverStream' : 'unary'
}

/**
 * The exchange at the end of a chain of interceptors, or that of the running code where a link
 * hides what is behind it.
 */
function exchangeOf(call: unknown): GrpcServerCall | undefined {
  let each = call as { readonly nextCall?: unknown } | undefined
  while (each !== undefined && each !== null) {
    if (each instanceof GrpcServerCall) return each
    each = each.nextCall as typeof each
  }
  const running = inboundCall()
  return running instanceof GrpcServerCall ? running : undefined
}

function currentHealth(): GrpcHealth | undefined {
  const call = inboundCall()
  return call instanceof GrpcServerCall ? call.health : undefined
}

function openAll(server: GrpcServer): void {
  server.openAll()
}

function ignore(): void {}
