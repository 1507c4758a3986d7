/** What a gRPC method takes and gives, by `.proto` files or by descriptors of a server. */
import { dirname } from 'node:path'
import type * as grpc from '@grpc/grpc-js'
import type * as loader from '@grpc/proto-loader'
import { reasonOf } from '../../../core/errors.ts'
import { didYouMean } from '../../../options/nearest.ts'
import { requirePeer } from '../../../options/optional-peer.ts'
import { invalidUsage } from '../../failure.ts'

const OLDEST_LOADER = '0.8.0'

export type Loader = typeof loader
export type Method = loader.MethodDefinition<object, object>

/** As JSON: lowerCamelCase, 64-bit integers and enum values as text, bytes as base64. */
const AS_JSON: loader.Options = { longs: String, enums: String, bytes: String, defaults: true, json: true }

export function loadProtoLoader(): Loader {
  return requirePeer<Loader>('@grpc/proto-loader', OLDEST_LOADER, 'inmesh call grpc://')
}

/** @throws Failure if a file is missing or has a mistake */
export async function definitionsOfFiles(
  files: readonly string[],
  importPaths: readonly string[] = [],
): Promise<loader.PackageDefinition> {
  const includeDirs = [...importPaths, ...new Set(files.map((file) => dirname(file)))]
  try {
    return await loadProtoLoader().load([...files], { ...AS_JSON, includeDirs })
  } catch (error) {
    throw invalidUsage(`--proto ${files.join(', ')}: ${reasonOf(error)}; imports are looked for in --import-path`)
  }
}

/** `bytes`: a FileDescriptorSet. */
export function definitionsOfDescriptors(bytes: Buffer): loader.PackageDefinition {
  return loadProtoLoader().loadFileDescriptorSetFromBuffer(bytes, AS_JSON)
}

/** @throws Failure with the names that there are */
export function methodOf(
  definitions: loader.PackageDefinition,
  { type, name }: { readonly type: string; readonly name: string },
): { readonly service: grpc.ServiceDefinition; readonly method: Method } {
  const services = Object.keys(definitions).filter((one) => isService(definitions[one]!))
  const service = definitions[type]
  if (service === undefined || !isService(service)) {
    throw invalidUsage(`there is no service '${type}'${didYouMean(type, services) || among(services)}`)
  }
  const names = Object.keys(service)
  const method = Object.hasOwn(service, name) ? service[name] : undefined
  if (method !== undefined) return { service: service as grpc.ServiceDefinition, method: method as Method }
  throw invalidUsage(`'${type}' has no method '${name}'${didYouMean(name, names) || among(names)}`)
}

function isService(definition: loader.AnyDefinition): definition is loader.ServiceDefinition {
  return !('format' in definition)
}

function among(names: readonly string[]): string {
  return names.length === 0 ? '' : `; there are ${names.slice(0, 20).join(', ')}`
}
