/**
 * By which names a client has the methods of its service. grpc-js gives each the key of the
 * definition and `originalName` (camelCase, by `@grpc/proto-loader`); of two methods with one name,
 * the client decides.
 */
import type * as grpc from '@grpc/grpc-js'

/** What a generated client knows of one of its methods. */
export type MethodDefinition = Pick<
  grpc.MethodDefinition<unknown, unknown>,
  'path' | 'requestStream' | 'responseStream' | 'originalName'
> & { readonly options?: { readonly idempotency_level?: string | undefined } | undefined }

/** What a client class says of its service, by names that the generator chose. */
export type ServiceDefinition = Readonly<Record<string, MethodDefinition>>

export type MethodNames = ReadonlyMap<string, MethodDefinition>

/**
 * The methods that `holder`, a client or the prototype of its class, has beyond those of `base`,
 * every client's.
 */
export function methodNames(holder: object, base: object, service: ServiceDefinition): MethodNames {
  const names = new Map<string, MethodDefinition>()
  for (const [key, definition] of Object.entries(service)) {
    for (const name of spellings(key, definition)) {
      const method = (holder as Record<string, unknown>)[name]
      if (typeof method !== 'function' || name === 'constructor') continue
      // A class that extends the generated one may have methods of its own in their place.
      const { path = method === (base as Record<string, unknown>)[name] ? undefined : definition.path } = method as {
        path?: string
      }
      if (path === definition.path) names.set(name, definition)
    }
  }
  return names
}

/** All names that a client might have for a method: its own, and in camelCase. */
export function spellings(key: string, { originalName }: MethodDefinition): ReadonlySet<string> {
  const names = new Set([key])
  if (typeof originalName === 'string') names.add(originalName)
  names.add(key.charAt(0).toLowerCase() + key.slice(1))
  return names
}
