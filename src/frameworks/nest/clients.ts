/**
 * `@MeshClient` and `@MeshGrpcClient`: each names its token and adds a provider to `MeshModule`,
 * which Nest reads when it scans the application, after all its classes were loaded.
 */
import { type FactoryProvider, Inject, type InjectionToken } from '@nestjs/common'
import type { GrpcClientClass, GrpcClientOptions } from '../../client/grpc/client.ts'
import type { HttpClientOptions } from '../../client/http/options.ts'
import { joined, Mesh } from './mesh-token.ts'

/** Of all clients that a decorator has named; Nest holds this very array. */
export const CLIENTS: FactoryProvider[] = []

const grpcTokens = new WeakMap<object, Map<string, symbol>>()

/**
 * The token of `@MeshClient(service)`, for tests that replace a client.
 *
 * @example
 * ```ts
 * builder.overrideProvider(getMeshClientToken('inventory')).useValue({ get: async () => answer })
 * ```
 */
export function getMeshClientToken(service: string): InjectionToken {
  return `MeshClient(${service})`
}

/** The token of `@MeshGrpcClient(Client, service)`, for tests that replace a client. */
export function getMeshGrpcClientToken<C extends object>(client: GrpcClientClass<C>, service: string): InjectionToken {
  const tokens = grpcTokens.get(client) ?? new Map<string, symbol>()
  grpcTokens.set(client, tokens)
  const token = tokens.get(service) ?? Symbol(`MeshGrpcClient(${client.name}, ${service})`)
  tokens.set(service, token)
  return token
}

/**
 * Injects the HTTP client of a service, as `mesh.http(service, options)` makes it.
 *
 * @param options - such as `filters`; a client with options is this parameter's own, and
 * `getMeshClientToken` does not name it
 * @example
 * ```ts
 * constructor(@MeshClient('inventory') private readonly inventory: HttpClient) {}
 * ```
 */
export function MeshClient(service: string, options?: HttpClientOptions): ParameterDecorator & PropertyDecorator {
  const token = options === undefined ? getMeshClientToken(service) : Symbol(`MeshClient(${service}, options)`)
  return inject(token, (mesh) => mesh.http(service, options))
}

/**
 * Injects the gRPC client of a service, as `mesh.grpc(Client, service, options)` makes it, for
 * clients that were generated (grpc-tools, ts-proto). For clients that Nest loads from a `.proto`,
 * see `MeshClientGrpc` of `inmesh/nest/microservices`.
 *
 * @param options - such as `idempotent`; a client with options is this parameter's own, and
 * `getMeshGrpcClientToken` does not name it
 * @example
 * ```ts
 * constructor(@MeshGrpcClient(StockClient, 'inventory') private readonly stock: GrpcClient<StockClient>) {}
 * ```
 */
export function MeshGrpcClient<C extends object>(
  client: GrpcClientClass<C>,
  service: string,
  options?: GrpcClientOptions,
): ParameterDecorator & PropertyDecorator {
  const shared = getMeshGrpcClientToken(client, service)
  const token = options === undefined ? shared : Symbol(`MeshGrpcClient(${client.name}, ${service}, options)`)
  return inject(token, (mesh) => mesh.grpc(client, service, options))
}

function inject(token: InjectionToken, make: (mesh: Mesh) => object): ParameterDecorator & PropertyDecorator {
  if (!CLIENTS.some(({ provide }) => provide === token)) {
    const mesh = { token: Mesh, optional: true }
    CLIENTS.push({ provide: token, inject: [mesh], useFactory: (mesh?: Mesh) => make(joined(mesh)) })
  }
  return Inject(token)
}
