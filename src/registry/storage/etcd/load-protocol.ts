/** grpc-js and etcd's API, loaded when a registry first uses etcd. */
import type * as grpc from '@grpc/grpc-js'
import type * as loader from '@grpc/proto-loader'
import { OLDEST_GRPC, requirePeer } from '../../../options/optional-peer.ts'
import type { Methods, Streams } from './messages.ts'
import { PROTOCOL, READING } from './protocol.ts'

const OLDEST_LOADER = '0.8.0'
const WHAT = "a registry's store etcd://"

interface Definition {
  readonly path: string
  readonly requestSerialize: (value: object) => Buffer
  readonly responseDeserialize: (bytes: Buffer) => object
}

export type Definitions = Readonly<Record<keyof Methods | keyof Streams, Definition>>

let loaded: { readonly module: typeof grpc; readonly definitions: Definitions } | undefined

/** @throws OptionsError naming the package to install */
export function loadProtocol(): { readonly module: typeof grpc; readonly definitions: Definitions } {
  if (loaded !== undefined) return loaded
  const module = requirePeer<typeof grpc>('@grpc/grpc-js', OLDEST_GRPC, WHAT)
  const { fromJSON } = requirePeer<typeof loader>('@grpc/proto-loader', OLDEST_LOADER, WHAT)
  const definitions: Record<string, Definition> = {}
  for (const [name, service] of Object.entries(fromJSON(PROTOCOL as Parameters<typeof fromJSON>[0], READING))) {
    if ('format' in service) continue
    for (const [method, definition] of Object.entries(service)) {
      definitions[`${name.replace('etcdserverpb.', '')}.${method}`] = definition as Definition
    }
  }
  loaded = { module, definitions: definitions as Definitions }
  return loaded
}
