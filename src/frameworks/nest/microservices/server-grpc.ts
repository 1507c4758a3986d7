/** Nest's gRPC transport as a server of the mesh, which listens in place of grpc-js. */
import { type CustomTransportStrategy, type GrpcOptions, ServerGrpc } from '@nestjs/microservices'
import type { Observable } from 'rxjs'
import type { GrpcServing, MeshServer } from '../../../mesh/mesh-server.ts'
import type { ServeGrpcOptions } from '../../../mesh/serve-options.ts'
import { type Issue, show } from '../../../options/fields.ts'
import { OLDEST_GRPC, requirePeer } from '../../../options/optional-peer.ts'
import type { Mesh } from '../mesh-token.ts'
import { assertOptions, type Names } from './assert-options.ts'
import { type RequestCall, requestStream } from './request-stream.ts'

/** Nest's own options of a gRPC server, besides those that say where it listens. */
export interface MeshServerGrpcOptions
  extends Omit<GrpcOptions['options'], 'url' | 'credentials' | 'gracefulShutdown'> {
  /** The process in the mesh, by `app.get(Mesh)` or `inject: [Mesh]`. */
  readonly mesh: Mesh
  /** As for `mesh.serveGrpc`, such as `port`. @defaultValue its defaults */
  readonly serve?: ServeGrpcOptions
}

type RequestStreamMethod = ServerGrpc['createRequestStreamMethod']
/** Of Nest: it keeps messages until `drainBuffer`. */
type RequestStream = Observable<unknown> & { readonly drainBuffer?: () => void }

const NAMES: Names<MeshServerGrpcOptions> = {
  mesh: true,
  serve: true,
  package: true,
  protoPath: true,
  packageDefinition: true,
  protoLoader: true,
  loader: true,
  onLoadPackageDefinition: true,
  channelOptions: true,
  keepalive: true,
  maxSendMessageLength: true,
  maxReceiveMessageLength: true,
  maxMetadataSize: true,
}

/** Nest's other options, each with what takes its place. */
const WITHOUT_EFFECT = {
  url: 'use `serve: { port }`; the mesh listens',
  credentials: "mTLS is the mesh's",
  gracefulShutdown: 'leave it out; the mesh always drains',
}

/**
 * A gRPC server of Nest (`@GrpcMethod` and the others) in the mesh: with verified callers,
 * intentions, deadlines, limits and drain.
 *
 * @example
 * ```ts
 * const app = await NestFactory.create(AppModule)
 * const options = { mesh: app.get(Mesh), package: 'shop', protoPath: 'shop.proto', serve: { port: 9090 } }
 * app.connectMicroservice({ strategy: new MeshServerGrpc(options) })
 * await app.startAllMicroservices()
 * ```
 */
export class MeshServerGrpc extends ServerGrpc implements CustomTransportStrategy {
  readonly #mesh: Mesh
  readonly #serve: ServeGrpcOptions | undefined
  readonly #nest: Omit<MeshServerGrpcOptions, 'mesh' | 'serve'>
  #server: MeshServer | undefined

  /** @throws OptionsError naming each option that is missing, unknown or has no effect */
  constructor(options: MeshServerGrpcOptions) {
    const { mesh, serve, ...nest } = options
    const issues: Issue[] = []
    if (typeof mesh?.serveGrpc !== 'function') {
      issues.push({ path: ['mesh'], message: `expected the mesh, got ${show(mesh)}; app.get(Mesh), or inject: [Mesh]` })
    }
    assertOptions('MeshServerGrpc', options, NAMES, WITHOUT_EFFECT, issues)
    super(nest)
    this.#mesh = mesh
    this.#serve = serve
    this.#nest = nest
  }

  /** The port listened on; `undefined` before `listen`. */
  get port(): number | undefined {
    return this.#server?.port
  }

  /** For Nest: the server, which does not listen itself. */
  override async createClient(): Promise<unknown> {
    const { Server } = requirePeer<{ Server: new (options: object) => object }>(
      '@grpc/grpc-js',
      OLDEST_GRPC,
      'MeshServerGrpc',
    )
    const { channelOptions, maxSendMessageLength, maxReceiveMessageLength, maxMetadataSize } = this.#nest
    return new Server({
      ...channelOptions,
      ...(maxSendMessageLength && { 'grpc.max_send_message_length': maxSendMessageLength }),
      ...(maxReceiveMessageLength && { 'grpc.max_receive_message_length': maxReceiveMessageLength }),
      ...(maxMetadataSize && { 'grpc.max_metadata_size': maxMetadataSize }),
      ...this.getKeepaliveOptions(),
    })
  }

  /** For Nest: adds the services, then listens. */
  override async start(callback?: () => void): Promise<void> {
    await this.bindEvents()
    this.#server = await this.#mesh.serveGrpc(this.grpcClient as GrpcServing, this.#serve)
    callback?.()
  }

  /** For Nest: a handler whose requests are a stream, which keeps their order. */
  override createRequestStreamMethod(
    handler: Parameters<RequestStreamMethod>[0],
    isResponseStream: boolean,
  ): ReturnType<RequestStreamMethod> {
    const inOrder = (messages: RequestStream, metadata: unknown, call: RequestCall): unknown => {
      const ordered = requestStream(messages, call)
      messages.drainBuffer?.()
      return handler(ordered, metadata, call)
    }
    // Nest's hooks get it as the name of the operation.
    Object.defineProperty(inOrder, 'name', { value: handler.name })
    return super.createRequestStreamMethod(inOrder, isResponseStream)
  }

  /** Drains. */
  override async close(): Promise<void> {
    await this.#server?.close()
    await super.close()
  }
}
