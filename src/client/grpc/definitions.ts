/** Service definitions as generators write them, read as one list of methods. */
import { type MethodDefinition, spellings } from './method-names.ts'

/**
 * What a generator writes of a service: for grpc-js (grpc-tools, `@grpc/proto-loader`, ts-proto's
 * `outputServices=grpc-js`) and nice-grpc, for ts-proto's `outputServices=generic-definitions`, and
 * the `ServiceType` of protobuf-ts.
 */
export type GrpcServiceDefinition =
  | {
      readonly [name: string]: {
        readonly path: string
        readonly requestStream: boolean
        readonly responseStream: boolean
      }
    }
  | {
      /** Package and service, `shop.Prices`. */
      readonly fullName: string
      /** By the names that code has for them. */
      readonly methods: {
        readonly [name: string]: {
          readonly name: string
          readonly requestStream: boolean
          readonly responseStream: boolean
        }
      }
    }
  | {
      /** Package and service, `shop.Prices`. */
      readonly typeName: string
      /** All that the service has. */
      readonly methods: readonly {
        /** As in the `.proto`. */
        readonly name: string
        /** As in code. */
        readonly localName: string
        /** Whether it takes a stream of requests. */
        readonly clientStreaming: boolean
        /** Whether it gives a stream of answers. */
        readonly serverStreaming: boolean
      }[]
    }

/** A method as any of them has it. */
interface GivenMethod {
  readonly name?: unknown
  readonly localName?: string
  readonly originalName?: string
  readonly path?: unknown
  readonly requestStream?: unknown
  readonly responseStream?: unknown
  readonly clientStreaming?: unknown
  readonly serverStreaming?: unknown
  readonly idempotency?: string
  /** `@grpc/proto-loader` keeps the name of the `.proto`; nice-grpc and ts-proto have camelCase. */
  readonly options?: { readonly idempotency_level?: string; readonly idempotencyLevel?: string }
}

/** Whether it is what {@link methodsOf} can read. */
export function isDefinition(value: unknown): value is GrpcServiceDefinition {
  return methodsOf(value) !== undefined
}

/** Each method with every name that code has for it. `undefined`: no definition. */
export function methodsOf(definition: unknown): readonly (readonly [string, MethodDefinition])[] | undefined {
  const { fullName, typeName, methods } = Object(definition) as Record<string, unknown>
  const service = typeName ?? fullName
  const isNamed = typeof service === 'string' && typeof methods === 'object' && methods !== null
  const entries = Object.entries((isNamed ? methods : Object(definition)) as Record<string, unknown>)
  if (entries.length === 0 && !isNamed) return undefined
  const named: [string, MethodDefinition][] = []
  for (const [key, each] of entries) {
    const given = Object(each) as GivenMethod
    const method = {
      path: isNamed && typeof given.name === 'string' ? `/${service}/${given.name}` : given.path,
      requestStream: given.requestStream ?? given.clientStreaming,
      responseStream: given.responseStream ?? given.serverStreaming,
      options: {
        idempotency_level: given.idempotency ?? given.options?.idempotency_level ?? given.options?.idempotencyLevel,
      },
    }
    if (!isMethod(method)) return undefined
    const { localName = key, originalName } = given
    for (const name of spellings(localName, { originalName })) named.push([name, method])
  }
  return named
}

function isMethod(method: { [name in keyof MethodDefinition]?: unknown }): method is MethodDefinition {
  const { path, requestStream, responseStream } = method
  return typeof path === 'string' && typeof requestStream === 'boolean' && typeof responseStream === 'boolean'
}
