/** `mesh.grpcChannel(service)`: a channel for clients that mesh.grpc cannot construct. */
import { either } from '../../options/composed-fields.ts'
import { check, exactly, fields, instance, list, OptionsError, optional, show } from '../../options/fields.ts'
import { grpcMethod, isGrpcMethod } from '../../options/names.ts'
import { integer } from '../../options/quantities.ts'
import type { Destination } from '../destination.ts'
import { MeshChannel } from './channel.ts'
import { type GrpcServiceDefinition, methodsOf } from './definitions.ts'
import type { MethodDefinition } from './method-names.ts'
import type { GrpcTransport } from './transport.ts'

/** How calls on one channel behave; given to `mesh.grpcChannel`. */
export interface GrpcChannelOptions {
  /**
   * The services that clients call on it, as their generator defined them: of grpc-js, nice-grpc,
   * ts-proto or protobuf-ts. A method that none of them has counts as a stream: its answer is not
   * held back for a retry, its duration is no latency, and the policy's `timeout` ends with its
   * headers. @defaultValue none
   */
  readonly definitions?: GrpcServiceDefinition | readonly GrpcServiceDefinition[]
  /**
   * Methods of which a second execution does no harm, such as `shop.Prices/Quote` or
   * `shop.Prices/*`, or `true` for all. Those that say so in `definitions` (`idempotency_level`)
   * and in the service's document (`retry.idempotent`) need not be named. @defaultValue none
   */
  readonly idempotent?: readonly string[] | true
  /**
   * Streaming methods, such as `shop.Prices/Watch`, whose calls are short enough that how long they
   * take says something of the endpoint. @defaultValue none
   */
  readonly shortStreams?: readonly string[]
  /**
   * Bytes of one received message; larger ones fail with RESOURCE_EXHAUSTED. At most 1 GiB.
   * @defaultValue 4194304, as in grpc-js
   */
  readonly maxReceiveMessageBytes?: number
}

const OPTIONS = fields({
  definitions: optional(instance<object>('a service definition, or a list of them', isObject)),
  idempotent: optional(either(exactly(true), list(grpcMethod(), { max: 1_000 }))),
  shortStreams: optional(list(grpcMethod(), { max: 1_000 })),
  maxReceiveMessageBytes: optional(integer({ min: 1, max: 1_073_741_824 })),
})

/** @internal @throws OptionsError naming each wrong option */
export function makeGrpcChannel(
  destination: Destination<GrpcTransport>,
  options: GrpcChannelOptions | undefined,
  find: (service: string) => Destination<GrpcTransport>,
): MeshChannel {
  const given = check(OPTIONS, options, 'mesh.grpcChannel')
  const { idempotent, shortStreams, maxReceiveMessageBytes } = given
  const names = definedBy(given.definitions)
  const methods = new Map(names.map(([, method]) => [method.path, method]))
  return new MeshChannel(
    destination,
    {
      methods,
      names,
      idempotent: idempotent === true ? () => true : oneOf('idempotent', idempotent, methods),
      shortStream: oneOf('shortStreams', shortStreams, methods),
      largestMessage: maxReceiveMessageBytes,
    },
    find,
  )
}

function definedBy(given: object | undefined): (readonly [string, MethodDefinition])[] {
  if (given === undefined) return []
  const all: readonly unknown[] = Array.isArray(given) ? given : [given]
  return all.flatMap((definition, i) => {
    const methods = methodsOf(definition)
    if (methods !== undefined) return methods
    const expected = 'expected a service definition of grpc-js, nice-grpc, ts-proto or protobuf-ts'
    const path = Array.isArray(given) ? ['definitions', i] : ['definitions']
    throw new OptionsError('mesh.grpcChannel', [{ path, message: `${expected}, got ${show(definition)}` }])
  })
}

/** @throws OptionsError for a name that no definition has, if there are definitions */
function oneOf(
  option: string,
  names: readonly string[] = [],
  methods: ReadonlyMap<string, MethodDefinition>,
): (path: string) => boolean {
  const paths = [...methods.keys()]
  for (const [i, name] of names.entries()) {
    if (paths.length === 0 || paths.some((path) => isGrpcMethod([name], path))) continue
    const message = `is no method of \`definitions\`; they are ${paths.map((path) => path.slice(1)).join(', ')}`
    throw new OptionsError('mesh.grpcChannel', [{ path: [option, i], message }])
  }
  return (path) => isGrpcMethod(names, path)
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null
}
