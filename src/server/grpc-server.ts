/**
 * The gRPC server door: an ordinary grpc-js `Server` behind mutual TLS, authorization, deadlines and limits, with certificates that rotate
 * under traffic and a drain that loses nothing. Connections are in `grpc-acceptor.ts`, one call in `grpc-exchange.ts`.
 */
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Stream, Settings } from 'node:http2'
import type { Socket } from 'node:net'
import type * as grpc from '@grpc/grpc-js'
import type { Route } from '../core/call.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { LONGEST_TIMEOUT_MS } from '../core/deadline.ts'
import { MeshError } from '../core/errors.ts'
import { OptionsError, show } from '../core/fields.ts'
import { GUARDED_SERVER } from '../core/http2-flood-guard.ts'
import { requirePeer } from '../core/optional-peer.ts'
import { GRPC_STATUS } from '../core/status.ts'
import type { IdentitySource } from '../identity/identity.ts'
import type { PeerVerifier } from '../identity/peer-verifier.ts'
import type { FaultRule } from '../resilience/fault-injection.ts'
import type { Stack } from '../resilience/stack.ts'
import { type EventSink, NO_EVENTS } from '../telemetry/events.ts'
import type { Authorizer } from './authorization.ts'
import { connectionOf } from './connection.ts'
import { DeadlineSweep } from './deadline-sweep.ts'
import { Drain, type Drainable, type DrainOptions, type DrainReport, type DrainState } from './drain.ts'
import { GrpcAcceptor, type GrpcAcceptorHost } from './grpc-acceptor.ts'
import { GrpcExchange, type GrpcExchangeHost, respond } from './grpc-exchange.ts'
import { readGrpcHead } from './grpc-head.ts'
import { GrpcHealth } from './grpc-health.ts'
import { type GrpcServerOptions, type GrpcServerSettings, resolveGrpcServer } from './grpc-server-options.ts'
import type { Within } from './http-exchange.ts'
import type { HttpServerStats } from './http-server.ts'
import { Running } from './running.ts'

/** What a server needs from the mesh around it; plain values, so that a test needs no mesh. */
export interface GrpcServerDependencies {
  readonly service: string
  /** Needed unless `plaintext`. */
  readonly identity?: IdentitySource | undefined
  /** Shared with the rest of the mesh; made from the identity if absent. */
  readonly verifier?: PeerVerifier | undefined
  readonly authorizer: Authorizer
  readonly stack: Stack
  readonly clock?: Clock | undefined
  readonly events?: EventSink | undefined
  /** Runs a handler inside the span of its call: `CallTelemetry.within`. */
  readonly within?: Within | undefined
}

/** Before it, one malformed message ends the process (GHSA-5375-pq7m-f5r2, GHSA-99f4-grh7-6pcq). */
const OLDEST_GRPC = '1.14.4'

/** Of one connection at once, unless the `Server` says otherwise (`grpc.max_concurrent_streams`); more wait in the client. */
const MOST_STREAMS = 1_000

/** What grpc-js keeps for itself, and its adapter needs: pinned by tests against the oldest and the newest version that we take. */
interface Internals {
  readonly http2Servers: ReadonlyMap<Http2Server, unknown>
  readonly options: Readonly<Record<string, unknown>>
  /** Whether what it makes from now on is counted for channelz. */
  channelzEnabled: boolean
  /** Options of the HTTP/2 servers that it makes. */
  readonly commonServerOptions: { settings?: Settings }
  readonly handlers: ReadonlyMap<string, { readonly type: 'unary' | 'clientStream' | 'serverStream' | 'bidi' }>
}

type StreamListener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number) => void

/** A stream that has just begun. */
interface Begun {
  readonly stream: ServerHttp2Stream
  readonly headers: IncomingHttpHeaders
  readonly raw: readonly string[]
}

/**
 * Listens, and resolves with the running server.
 *
 * @throws OptionsError for wrong options, or without grpc-js; the system's error if it cannot listen
 * @example
 * ```ts
 * const server = await serveGrpc(grpcServer, { port: 9090 }, { service, identity, authorizer, stack })
 * await server.drain()
 * ```
 */
export async function serveGrpc(
  server: grpc.Server,
  options: GrpcServerOptions,
  dependencies: GrpcServerDependencies,
): Promise<GrpcServer> {
  const settings = resolveGrpcServer(options)
  if (settings.mode !== 'plaintext' && dependencies.identity === undefined) {
    throw new MeshError(`A '${settings.mode}' server needs an identity, and this process has none.`, {
      code: 'not-in-mesh',
      service: dependencies.service,
    })
  }
  const served = new GrpcServer(server, settings, dependencies)
  await served.listen()
  return served
}

/** A listening server; made by {@link serveGrpc}. */
export class GrpcServer implements GrpcExchangeHost, GrpcAcceptorHost, Drainable {
  readonly service: string
  readonly clock: Clock
  readonly events: EventSink
  readonly within: Within | undefined
  readonly faults: readonly FaultRule[]
  readonly running = new Running<GrpcExchange>()
  readonly deadlines: DeadlineSweep
  readonly health: GrpcHealth
  /** Replace it to change who may call; calls from then on are judged by it. */
  authorizer: Authorizer
  /** Replace it to change limits; calls in progress keep theirs. */
  stack: Stack

  readonly #acceptor: GrpcAcceptor
  readonly #drain: Drain
  readonly #internals: Internals
  readonly #routes = new Map<string, Route>()
  readonly #injector: ReturnType<grpc.Server['createConnectionInjector']>
  readonly #passOn: StreamListener
  /** Of this turn of the loop. */
  #begun: Begun[] = []
  /** The one that is being handed to grpc-js right now. */
  #passing: GrpcExchange | undefined = undefined

  constructor(server: grpc.Server, settings: GrpcServerSettings, dependencies: GrpcServerDependencies) {
    this.service = dependencies.service
    this.clock = dependencies.clock ?? systemClock
    this.events = dependencies.events ?? NO_EVENTS
    this.within = dependencies.within
    this.authorizer = dependencies.authorizer
    this.stack = dependencies.stack
    this.deadlines = new DeadlineSweep(this.clock, this.running)
    this.faults = settings.faults
    this.#drain = new Drain(this, this.clock)
    if (typeof (server as Partial<grpc.Server> | null)?.createConnectionInjector !== 'function') {
      const message = `expected a Server of @grpc/grpc-js, got ${show(server)}`
      throw new OptionsError('serveGrpc', [{ path: ['server'], message }])
    }
    this.#internals = server as unknown as Internals
    this.health = new GrpcHealth(server)
    const { injector, http2Server } = this.#adopt(server)
    this.#injector = injector
    const [listener] = http2Server.listeners('stream') as StreamListener[]
    this.#passOn = listener!
    http2Server.removeAllListeners('stream')
    http2Server.on('stream', (stream, headers, _flags, raw) => this.#begin({ stream, headers, raw }))
    this.#acceptor = new GrpcAcceptor(this, settings, dependencies.identity, dependencies.verifier)
    this.#acceptor.attend(http2Server)
  }

  /** For the acceptor and the drain. */
  listen(): Promise<void> {
    return this.#acceptor.listen()
  }

  /** Where it listens. */
  get address(): string {
    return this.#acceptor.address.address
  }

  get port(): number {
    return this.#acceptor.address.port
  }

  get state(): DrainState {
    return this.#drain.state
  }

  get stats(): HttpServerStats {
    return {
      connections: this.#acceptor.open,
      inFlight: this.running.size,
      accepted: this.#acceptor.accepted,
      plaintext: this.#acceptor.plaintext,
      refused: this.#acceptor.refused,
    }
  }

  /** Stops without losing a call; call it after the instance has been withdrawn from discovery. Never rejects. */
  drain(options?: DrainOptions): Promise<DrainReport> {
    return this.#drain.start(options)
  }

  /** Stops at once: cancels what runs. Also ends a drain that is under way. */
  close(): Promise<DrainReport> {
    this.#drain.hasten()
    return this.#drain.start({ lameDuckMs: 0, graceMs: 0 })
  }

  // What an exchange needs.

  pass(exchange: GrpcExchange): void {
    this.#passing = exchange
    try {
      this.#passOn(exchange.stream, exchange.headers, 0)
    } finally {
      this.#passing = undefined
    }
  }

  exchangeEnded(): void {
    this.#drain.callEnded()
  }

  // What a drain needs.

  get inFlight(): number {
    return this.running.size
  }

  retire(): void {
    this.events.emit('drain:step', { step: 'lame-duck', running: this.running.size })
    this.health.leave()
    this.#acceptor.retire()
  }

  stopAccepting(): void {
    this.events.emit('drain:step', { step: 'finishing', running: this.running.size })
    this.health.end()
    this.#acceptor.stopAccepting()
  }

  cancelAll(): number {
    const left = [...this.running]
    for (const exchange of left) exchange.abandon()
    return left.length
  }

  async closeConnections(): Promise<void> {
    this.deadlines.stop()
    await this.#acceptor.close()
    this.#injector.destroy()
    this.events.emit('drain:step', { step: 'closed', running: 0 })
  }

  // What an acceptor needs.

  inject(socket: Socket): void {
    this.#injector.injectConnection(socket)
  }

  /** One turn of the loop late: the streams of a flood are reset, or their session is gone, before a handler hears of them. */
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
    if (head === undefined) {
      this.events.emit('admission:refused', { side: 'server', code: 'protocol-error' })
      respond(
        stream,
        GRPC_STATUS.INTERNAL,
        'The header grpc-timeout is no timeout: 1 to 8 digits and one of H, M, S, m, u, n.',
      )
      return
    }
    const route = this.#routeOf(headers[':path'] ?? '')
    if (!route.streaming && head.timeoutMs !== undefined && head.timeoutMs > LONGEST_TIMEOUT_MS) {
      head.timeoutMs = LONGEST_TIMEOUT_MS
    }
    const exchange = new GrpcExchange(this, connection, stream, headers, route, head)
    if (exchange.admit(this.health.owns(route.method))) exchange.run()
  }

  /** grpc-js's server behind our listener: one that never listens itself and gives each call to the exchange that is its own. */
  #adopt(server: grpc.Server): {
    injector: ReturnType<grpc.Server['createConnectionInjector']>
    http2Server: Http2Server
  } {
    const module = requirePeer<typeof grpc>('@grpc/grpc-js', OLDEST_GRPC, 'serveGrpc')
    const interceptor: grpc.ServerInterceptor = ({ requestStream }, call) =>
      (this.#passing?.attach(call, requestStream) ?? call) as unknown as grpc.ServerInterceptingCall
    const credentials = module.experimental.createServerCredentialsWithInterceptors(
      module.ServerCredentials.createInsecure(),
      [interceptor],
    )
    const options = this.#internals.commonServerOptions
    Object.assign(options, GUARDED_SERVER)
    options.settings = { maxConcurrentStreams: MOST_STREAMS, ...options.settings }
    const before = new Set(this.#internals.http2Servers.keys())
    // A twentieth of what a call costs, for those who have asked for it only; the mesh counts by itself.
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

  /** Paths that nobody serves share one, because they come from strangers. */
  #routeOf(path: string): Route {
    const handler = this.#internals.handlers.get(path)
    const method = handler === undefined ? UNKNOWN_METHOD : path
    let route = this.#routes.get(method)
    if (route === undefined) {
      const streaming = handler !== undefined && handler.type !== 'unary'
      route = Object.freeze({ service: this.service, method, protocol: 'grpc', streaming, idempotent: false })
      this.#routes.set(method, route)
    }
    return route
  }
}

/** As the semantic conventions have it for methods that are not known. */
const UNKNOWN_METHOD = '_OTHER'

function openAll(server: GrpcServer): void {
  server.openAll()
}

function ignore(): void {}
