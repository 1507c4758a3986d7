/** Nest's `ClientGrpc`, whose clients are of the mesh. */
import { ClientGrpcProxy, type GrpcOptions } from '@nestjs/microservices'
import { catchError, isObservable, NEVER, Observable } from 'rxjs'
import type { GrpcClientClass, GrpcClientOptions } from '../../../client/grpc/client.ts'
import { type Issue, show } from '../../../options/fields.ts'
import type { Mesh } from '../mesh-token.ts'
import { assertOptions, type Names } from './assert-options.ts'

/** Nest's own options of a gRPC client, besides those that say where it connects and how. */
export interface MeshClientGrpcOptions
  extends Pick<GrpcOptions['options'], 'package' | 'protoPath' | 'packageDefinition' | 'protoLoader' | 'loader'> {
  /** The process in the mesh, by `inject: [Mesh]`. */
  readonly mesh: Mesh
  /** The service of the mesh to call. */
  readonly service: string
  /** How its clients behave in the mesh, as for `mesh.grpc`. @defaultValue its defaults */
  readonly client?: GrpcClientOptions
}

const NAMES: Names<MeshClientGrpcOptions> = {
  mesh: true,
  service: true,
  client: true,
  package: true,
  protoPath: true,
  packageDefinition: true,
  protoLoader: true,
  loader: true,
}

/** Nest's other options, each with what takes its place. */
const WITHOUT_EFFECT = {
  url: 'the mesh finds instances of `service`',
  credentials: "mTLS is the mesh's",
  channelOptions: 'use `client`, the options of mesh.grpc, and the policy document',
  keepalive: 'the mesh watches its connections',
  maxSendMessageLength: 'leave it out; nothing limits what is sent',
  maxReceiveMessageLength: 'use `client: { maxReceiveMessageBytes }`',
  maxMetadataSize: 'leave it out; the mesh has its own bound',
}

/**
 * A `ClientGrpc` for Nest's `ClientsModule`, by its option `customClass`: `getService()` returns
 * the methods of a service of the `.proto` as observables, and their calls go through the mesh.
 *
 * @example
 * ```ts
 * ClientsModule.registerAsync([{
 *   name: 'INVENTORY',
 *   inject: [Mesh],
 *   useFactory: (mesh: Mesh) => ({
 *     customClass: MeshClientGrpc,
 *     options: { mesh, service: 'inventory', package: 'shop', protoPath: 'shop.proto' },
 *   }),
 * }])
 * ```
 */
export class MeshClientGrpc extends ClientGrpcProxy {
  readonly #mesh: Mesh
  readonly #service: string
  readonly #client: GrpcClientOptions | undefined

  /** @throws OptionsError naming each option that is missing, unknown or has no effect */
  constructor(options: MeshClientGrpcOptions) {
    const { mesh, service, client, ...nest } = options
    const issues: Issue[] = []
    if (typeof mesh?.grpc !== 'function') {
      issues.push({ path: ['mesh'], message: `expected the mesh, got ${show(mesh)}; inject: [Mesh]` })
    }
    if (typeof service !== 'string') {
      issues.push({ path: ['service'], message: `expected the name of a service, got ${show(service)}` })
    }
    assertOptions('MeshClientGrpc', options, NAMES, WITHOUT_EFFECT, issues)
    super(nest)
    this.#mesh = mesh
    this.#service = service
    this.#client = client
  }

  /** For Nest. */
  override createClientByServiceName(name: string): unknown {
    const definition = this.getClient(name) as Record<string, GrpcClientClass<object>> | undefined
    // Nest has the message for a name that no package has.
    if (definition === undefined) return super.createClientByServiceName(name)
    const client = this.#mesh.grpc(definition[name]!, this.#service, this.#client)
    this.clients.set(name, client)
    return client
  }

  /** For Nest, which throws an error of the requests outside the call: it is the call's error. */
  override createServiceMethod(
    client: Parameters<ClientGrpcProxy['createServiceMethod']>[0],
    name: string,
  ): (...given: unknown[]) => Observable<unknown> {
    const method = super.createServiceMethod(client, name)
    return (requests, ...others) => {
      if (!isObservable(requests)) return method(requests, ...others)
      return new Observable((subscriber) => {
        const failed = (reason: unknown): Observable<never> => {
          subscriber.error(reason)
          return NEVER
        }
        return method(requests.pipe(catchError(failed)), ...others).subscribe(subscriber)
      })
    }
  }
}
