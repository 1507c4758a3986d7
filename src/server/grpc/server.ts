/**
 * The gRPC server: a grpc-js `Server` behind mutual TLS, authorization, deadlines and limits. Its
 * connections are in `../http2/protocol.ts`, one call is in `call.ts`.
 */
import type { ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type * as grpc from '@grpc/grpc-js'
import type { CallKind } from '../../core/call.ts'
import { inboundCall } from '../../core/context.ts'
import { LONGEST_TIMEOUT_MS } from '../../core/deadline.ts'
import { MeshError } from '../../core/errors.ts'
import { GRPC_STATUS } from '../../core/status.ts'
import type { MuxStream } from '../../mux/stream.ts'
import { GUARDED_SERVER } from '../../net/http2-flood-guard.ts'
import { installedVersion, OLDEST_GRPC, requirePeer } from '../../options/optional-peer.ts'
import { Acceptor } from '../acceptor.ts'
import type { Connection } from '../connection.ts'
import type { Ending } from '../ending.ts'
import { runUserCode } from '../guarded-emitter.ts'
import { NewStreams } from '../http2/new-streams.ts'
import { Http2Protocol, type Http2ProtocolHost } from '../http2/protocol.ts'
import type { RefusalAnswer } from '../lingering-close.ts'
import type { MuxConnection } from '../mux/connection.ts'
import type { MuxHost } from '../mux/protocol.ts'
import { assertIdentity, ServerBase, type ServerBaseDependencies } from '../server-base.ts'
import type { Stranger } from '../stranger.ts'
import { assertServer } from './assert-server.ts'
import { GrpcServerCall, type GrpcServerCallHost } from './call.ts'
import { DirectCalls } from './direct-calls.ts'
import { withEndReplayed } from './ended-stream.ts'
import { guardHandler } from './handler.ts'
import { type GrpcRequestHead, readGrpcHead } from './headers.ts'
import { GrpcHealth } from './health.ts'
import {
  type AdoptedServer,
  adoptServer,
  asInterceptingCall,
  internalsOf,
  kindOf,
  nextCallOf,
  type ServerInternals,
  type StreamListener,
} from './internals.ts'
import { NewMuxCalls } from './mux-calls.ts'
import { GrpcMuxProtocol } from './mux-protocol.ts'
import { grpcServerOf, isNiceServer, type NiceServer } from './nice-grpc.ts'
import { type GrpcServerOptions, type GrpcServerSettings, resolveGrpcServer } from './options.ts'
import { refuseCalls } from './refusal.ts'
import { respond } from './response.ts'
import type { ServedStream } from './served-stream.ts'
import { shutsDownBy } from './shutdown.ts'

/** Streams in flight on one connection, unless the `Server` sets `grpc.max_concurrent_streams`. */
const MAX_STREAMS = 1_000

/**
 * Listens, and resolves with the running server.
 *
 * @throws OptionsError for wrong options, or without grpc-js; the system's error if it cannot
 * listen
 * @example
 * ```ts
 * const dependencies = { service, identity, authorizer, stack }
 * const server = await serveGrpc(grpcServer, { port: 9090 }, dependencies)
 * await server.drain()
 * ```
 */
export async function serveGrpc(
  server: grpc.Server | NiceServer,
  options: GrpcServerOptions,
  dependencies: ServerBaseDependencies,
): Promise<GrpcServer> {
  const settings = resolveGrpcServer(options)
  assertIdentity(settings.mode, dependencies)
  if (!isNiceServer(server)) return listening(server, settings, dependencies)
  const made = await grpcServerOf(server, requirePeer<typeof grpc>('@grpc/grpc-js', OLDEST_GRPC, 'serveGrpc'))
  try {
    return await listening(made, settings, dependencies)
  } catch (error) {
    // So that it may be served again.
    server.forceShutdown()
    throw error
  }
}

async function listening(
  server: grpc.Server,
  settings: GrpcServerSettings,
  dependencies: ServerBaseDependencies,
): Promise<GrpcServer> {
  const served = new GrpcServer(server, settings, dependencies)
  await served.listen()
  return served
}

/** A listening server, created by {@link serveGrpc}. */
export class GrpcServer extends ServerBase implements GrpcServerCallHost, Http2ProtocolHost, MuxHost {
  readonly health: GrpcHealth
  /** Whether the application has interceptors. */
  readonly intercepted: boolean
  protected readonly acceptor: Acceptor
  readonly #server: grpc.Server
  readonly #internals: ServerInternals
  readonly #kinds = new Map<string, CallKind>()
  readonly #injector: AdoptedServer['injector']
  readonly #dispatch: StreamListener
  readonly #direct: DirectCalls
  readonly #newStreams = new NewStreams((connection, { stream, headers, raw }) =>
    this.#serve(connection, stream, readGrpcHead(headers, raw)),
  )
  readonly #newCalls = new NewMuxCalls((connection, stream, head) => this.#serve(connection, stream, head))
  /** The call that is being handed to grpc-js. */
  #dispatching: GrpcServerCall | undefined = undefined
  #shutsDownAlone: (() => void) | undefined

  constructor(server: grpc.Server, settings: GrpcServerSettings, dependencies: ServerBaseDependencies) {
    super(settings, dependencies)
    const module = requirePeer<typeof grpc>('@grpc/grpc-js', OLDEST_GRPC, 'serveGrpc')
    assertServer(server, module)
    this.#server = server
    this.#internals = internalsOf(server)
    const interceptors = this.#internals.interceptors ?? []
    this.intercepted = interceptors.length > 0
    if (this.intercepted) this.#internals.interceptors = [...interceptors, this.#guardStart]
    this.health = new GrpcHealth(server, currentHealth)
    const adopted = this.#adopt(server, module)
    this.#injector = adopted.injector
    this.#dispatch = withEndReplayed(adopted.dispatch)
    this.#direct = new DirectCalls(this.#internals, module, this.intercepted)
    this.#direct.probe(adopted.dispatch)
    const mux = new GrpcMuxProtocol(this, settings, this.#internals)
    const http2 = new Http2Protocol(this, settings, adopted.http2Server)
    this.acceptor = new Acceptor(this, settings, [mux, http2], dependencies.identity, dependencies.verifier)
  }

  dispatch(call: GrpcServerCall): void {
    if (this.#direct.dispatch(call)) return
    this.#dispatching = call
    try {
      this.#dispatch(call.stream as ServerHttp2Stream, call.headers, 0)
    } finally {
      this.#dispatching = undefined
    }
  }

  /** For the protocol. */
  refusal(stranger: Stranger): RefusalAnswer {
    return refuseCalls(stranger)
  }

  inject(socket: Socket): void {
    this.#injector.injectConnection(socket)
  }

  override inMesh(ending: Ending): void {
    if (this.taken === undefined) this.#shutsDownAlone = shutsDownBy(this.#server, ending)
  }

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
    this.#shutsDownAlone?.()
    this.#injector.destroy()
  }

  /** For the protocol. */
  streamOpened(
    connection: MuxConnection,
    stream: MuxStream,
    method: string,
    path: string,
    headers: string[],
    end: boolean,
  ): void {
    this.#newCalls.add(connection, stream, method, path, headers, end)
  }

  #serve(connection: Connection, stream: ServedStream, head: GrpcRequestHead | string): void {
    if (typeof head === 'string') {
      this.events.emit('admission:refused', { side: 'server', code: 'protocol-error' })
      respond(stream, GRPC_STATUS.INTERNAL, head)
      return
    }
    const kind = this.#kindOf(head.path)
    if (!kind.streaming && head.timeoutMs !== undefined && head.timeoutMs > LONGEST_TIMEOUT_MS) {
      head.timeoutMs = LONGEST_TIMEOUT_MS
    }
    const call = new GrpcServerCall(this, connection, stream, kind, head)
    // Every verified peer may ask for health.
    const exempt = connection.caller !== undefined && this.health.answers(kind.method)
    const admitted = call.admit(head, exempt)
    if (admitted === true) call.run()
    else if (admitted !== false) runLater(admitted, call)
  }

  #adopt(server: grpc.Server, module: typeof grpc): AdoptedServer {
    const interceptor: grpc.ServerInterceptor = (method, call) => {
      this.#direct.learn(call)
      return asInterceptingCall(
        this.#dispatching?.attach(call, kindOf(method), method.requestStream || this.intercepted) ?? call,
      )
    }
    const adopted = adoptServer(
      server,
      module,
      { maxConcurrentStreams: MAX_STREAMS },
      GUARDED_SERVER,
      interceptor,
      (stream, headers, raw) => this.#newStreams.add({ stream, headers, raw }),
    )
    if (adopted !== undefined) return adopted
    const version = installedVersion('@grpc/grpc-js')
    const message = `inmesh cannot serve @grpc/grpc-js ${version}: its internals differ from the supported versions. Run npm install @grpc/grpc-js@${OLDEST_GRPC}.`
    throw new MeshError(message, {
      code: 'protocol-error',
      service: this.service,
    })
  }

  /** The outermost interceptor: an error of another one would end the process inside grpc-js. */
  readonly #guardStart: grpc.ServerInterceptor = (_method, call) => {
    const dispatching = this.#dispatching
    if (dispatching !== undefined) {
      const { start } = call
      call.start = (listener) => runUserCode(dispatching, () => start.call(call, listener))
    }
    return asInterceptingCall(call)
  }

  /** Unknown paths share one kind, because any client can invent them. */
  #kindOf(path: string): CallKind {
    const handler = this.#internals.handlers.get(path)
    const method = handler === undefined ? UNKNOWN_METHOD : path
    let kind = this.#kinds.get(method)
    if (kind === undefined) {
      if (handler !== undefined) guardHandler(handler, servedCallOf)
      const streaming = handler !== undefined && handler.type !== 'unary'
      kind = Object.freeze({ service: this.service, method, protocol: 'grpc', streaming, idempotent: false })
      this.#kinds.set(method, kind)
    }
    return kind
  }
}

/** OpenTelemetry's name for unknown methods. */
const UNKNOWN_METHOD = '_OTHER'

/** Separate, because V8 allocates the closure's context even in calls that never create it. */
function runLater(admitted: Promise<boolean>, call: GrpcServerCall): void {
  void admitted.then((allowed) => {
    if (allowed) call.run()
  })
}

/** The served call at the end of a chain of interceptors. A link may hide the rest of the chain. */
function servedCallOf(call: unknown): GrpcServerCall | undefined {
  let each = call
  while (each !== undefined && each !== null) {
    if (each instanceof GrpcServerCall) return each
    each = nextCallOf(each)
  }
  const running = inboundCall()
  return running instanceof GrpcServerCall ? running : undefined
}

function currentHealth(): GrpcHealth | undefined {
  const call = inboundCall()
  return call instanceof GrpcServerCall ? call.health : undefined
}
