/**
 * All that the server uses of grpc-js beyond its public API. Tests pin it against the oldest and
 * the newest supported version.
 */
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Stream, Settings } from 'node:http2'
import type * as grpc from '@grpc/grpc-js'
import type { PartialStatusObject } from './status.ts'

/** The four kinds of calls, in grpc-js's words. */
export type CallKind = 'unary' | 'clientStream' | 'serverStream' | 'bidi'

/** A registered method. */
export interface Handler {
  func: (...given: unknown[]) => unknown
  readonly type: CallKind
  serialize(value: unknown): Uint8Array
  deserialize(bytes: Buffer): unknown
}

export interface ServerInternals {
  readonly http2Servers: ReadonlyMap<Http2Server, unknown>
  readonly options: Readonly<Record<string, unknown>>
  readonly shutdown: boolean
  /** The application's; the last is the outermost. */
  interceptors?: readonly grpc.ServerInterceptor[]
  /** Whether new connections are counted for channelz. */
  channelzEnabled: boolean
  /** Options of the HTTP/2 servers that it creates. */
  readonly commonServerOptions: { settings?: Settings }
  /** By path. */
  readonly handlers: ReadonlyMap<string, Handler>
}

export function internalsOf(server: grpc.Server): ServerInternals {
  return server as unknown as ServerInternals
}

/** Those of its HTTP/2 servers that listen on `port`. */
export function listeningOn(server: unknown, port: number): Http2Server[] {
  const { http2Servers } = server as Partial<ServerInternals>
  return [...(http2Servers?.keys() ?? [])].filter((one) => {
    const address = one.address()
    return address !== null && typeof address === 'object' && address.port === port
  })
}

/** Whether `server` has methods of the service `name`. */
export function hasService(server: grpc.Server, name: string): boolean {
  for (const path of internalsOf(server).handlers.keys()) if (path.startsWith(`/${name}/`)) return true
  return false
}

/** How grpc-js takes a stream from its HTTP/2 server. */
export type StreamListener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number) => void

type NewStreamListener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, raw: readonly string[]) => void

export interface AdoptedServer {
  readonly injector: ReturnType<grpc.Server['createConnectionInjector']>
  readonly http2Server: Http2Server
  /** Hands a stream to grpc-js. */
  readonly dispatch: StreamListener
}

/**
 * Puts ourselves between an HTTP/2 server of `server`, which never listens, and grpc-js. Streams go
 * to `onStream` instead. `undefined`: this version of grpc-js differs from the known ones.
 */
export function adoptServer(
  server: grpc.Server,
  module: typeof grpc,
  settings: Settings,
  http2Options: object,
  interceptor: grpc.ServerInterceptor,
  onStream: NewStreamListener,
): AdoptedServer | undefined {
  const internals = internalsOf(server)
  const credentials = module.experimental.createServerCredentialsWithInterceptors(
    module.ServerCredentials.createInsecure(),
    [interceptor],
  )
  const options = internals.commonServerOptions
  Object.assign(options, http2Options)
  options.settings = { ...settings, ...options.settings }
  const before = new Set(internals.http2Servers.keys())
  // Channelz costs a twentieth of a call; the mesh has its metrics. It stays on if asked for.
  const { channelzEnabled } = internals
  internals.channelzEnabled = internals.options['grpc.enable_channelz'] === 1
  const injector = server.createConnectionInjector(credentials)
  internals.channelzEnabled = channelzEnabled
  const http2Server = [...internals.http2Servers.keys()].find((each) => !before.has(each))
  const dispatch = http2Server?.listeners('stream')[0] as StreamListener | undefined
  if (http2Server === undefined || dispatch === undefined) return undefined
  http2Server.removeAllListeners('stream')
  http2Server.on('stream', (stream, headers, _flags, raw) => onStream(stream, headers, raw))
  return { injector, http2Server, dispatch }
}

export type Runner = (this: ServerInternals, call: grpc.ServerInterceptingCall, handler: Handler) => boolean

/** How grpc-js runs a handler; `undefined`: this version has no such method. */
export function runnerOf(internals: ServerInternals): Runner | undefined {
  const runner = (internals as { readonly _runHandlerForCall?: unknown })._runHandlerForCall
  return typeof runner === 'function' && runner.length === 2 ? (runner as Runner) : undefined
}

export function kindOf({
  requestStream,
  responseStream,
}: {
  readonly requestStream: boolean
  readonly responseStream: boolean
}): CallKind {
  if (requestStream) return responseStream ? 'bidi' : 'clientStream'
  return responseStream ? 'serverStream' : 'unary'
}

/** grpc-js accepts any object with these methods, not only instances of the class. */
export function asInterceptingCall(call: object): grpc.ServerInterceptingCall {
  return call as unknown as grpc.ServerInterceptingCall
}

/** The far end of the interceptors, by which a handler answers. */
export interface StatusSender {
  sendStatus(status: { code: number; details: string; metadata: null }): void
}

/** The call behind the object that a handler receives. */
export function interceptedCallOf(handlerCall: unknown): StatusSender {
  return (handlerCall as { readonly call: StatusSender }).call
}

/** Whether a message has begun in grpc-js's own `call`, and is not complete. */
export function withinMessage(call: unknown): boolean {
  const { decoder } = call as { readonly decoder?: { readonly readState?: unknown } }
  return typeof decoder?.readState === 'number' && decoder.readState !== 0
}

/** The next link of a chain of interceptors. */
export function nextCallOf(call: unknown): unknown {
  return (call as { readonly nextCall?: unknown }).nextCall
}

/** The status with which a handler's stream was to end. */
export function pendingStatusOf(stream: unknown): PartialStatusObject | undefined {
  return (stream as { readonly pendingStatus?: PartialStatusObject }).pendingStatus
}
