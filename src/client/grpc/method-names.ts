/**
 * The names under which a client has the methods of its service. grpc-js uses the key of the
 * definition and `originalName` (camelCase, from `@grpc/proto-loader`).
 */

/**
 * What a generated client knows of one of its methods: a part of grpc-js's type, without grpc-js,
 * because public types lead here.
 */
export interface MethodDefinition {
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly originalName?: string | undefined
  readonly options?: { readonly idempotency_level?: string | undefined } | undefined
}

/** The methods of a service, by the names that the generator chose. */
export type ServiceDefinition = Readonly<Record<string, MethodDefinition>>

export type MethodNames = ReadonlyMap<string, MethodDefinition>

/** The same of several services, which may share names. */
export type NamedMethods = Iterable<readonly [string, MethodDefinition]>

/**
 * The service's methods on `holder`, a client or its prototype. `base` has the methods of every
 * client.
 */
export function methodNames(holder: object, base: object, service: ServiceDefinition): MethodNames {
  const names = new Map<string, MethodDefinition>()
  for (const [key, definition] of Object.entries(service)) {
    for (const name of spellings(key, definition)) {
      const method = (holder as Record<string, unknown>)[name]
      if (typeof method !== 'function' || name === 'constructor') continue
      // A class that extends the generated one may override them.
      const { path = method === (base as Record<string, unknown>)[name] ? undefined : definition.path } = method as {
        path?: string
      }
      if (path === definition.path) names.set(name, definition)
    }
  }
  return names
}

/** All names that a client might use for a method: its key and camelCase. */
export function spellings(
  key: string,
  { originalName }: { readonly originalName?: string | undefined },
): ReadonlySet<string> {
  const names = new Set([key])
  if (typeof originalName === 'string') names.add(originalName)
  names.add(key.charAt(0).toLowerCase() + key.slice(1))
  return names
}
