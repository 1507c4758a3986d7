/**
 * Everything that the client side takes from inside grpc-js. Tests pin it against the oldest and
 * the newest supported version (the test project 'oldest grpc-js').
 */
import type { ClientHttp2Session, OutgoingHttpHeaders } from 'node:http2'
import type * as grpc from '@grpc/grpc-js'
import type { Grpc } from './grpc-js.ts'
import { mark, type StreamOwner } from './stream.ts'

// Sessions.

interface Internals {
  readonly internalChannel?: {
    readonly subchannelPool?: {
      readonly pool?: Readonly<Record<string, readonly { readonly subchannel: Subchannel }[]>>
    }
  }
}

/** Holds one connection to one address. */
export interface Subchannel {
  readonly transport: Http2Transport | null
}

export interface Http2Transport {
  keepaliveTimeMs: number
  readonly session: ClientHttp2Session
}

/**
 * The subchannels of a channel with a local pool. Empty if a version of grpc-js keeps them
 * elsewhere: then it handles pings and stream limits itself, and streams are unknown to us.
 */
export function subchannelsOf(channel: grpc.Channel): readonly Subchannel[] {
  const pool = (channel as unknown as Internals).internalChannel?.subchannelPool?.pool ?? {}
  return Object.values(pool).flatMap((kept) => kept.map(({ subchannel }) => subchannel))
}

/** Sends no more keepalive pings. */
export function stopPings(transport: Http2Transport): void {
  transport.keepaliveTimeMs = -1
}

// Streams.

/** The user whose stream the metadata begins. */
interface MetadataOwner extends StreamOwner {
  readonly ended: boolean
}

/** Metadata that belongs to one call and tells its owner when the stream begins. */
export interface OwnMetadata extends grpc.Metadata {
  owner: MetadataOwner | undefined
  /** On which the stream begins. */
  connection: { attend(): void } | undefined
}

/**
 * Makes the class of {@link OwnMetadata}. grpc-js clones metadata twice per call in case the caller
 * changes it. Only the connection holds this object, so it is not copied.
 */
export function ownMetadata({ Metadata }: Grpc): new () => OwnMetadata {
  return class Own extends Metadata implements OwnMetadata {
    owner: MetadataOwner | undefined = undefined
    connection: { attend(): void } | undefined = undefined

    override clone(): this {
      return this
    }

    /** grpc-js passes the result to the session in the same turn. */
    override toHttp2Headers(): OutgoingHttpHeaders {
      const headers = super.toHttp2Headers()
      if (this.owner !== undefined) {
        // A start takes some microtasks, and grpc-js does not check for a cancel after them.
        if (this.owner.ended) throw new Error('the attempt is over')
        this.connection?.attend()
        mark(headers, this.owner)
      }
      return headers
    }
  }
}

type Values = readonly (readonly [string, readonly (string | Buffer)[]])[]

/** Names and values of `metadata`, without a copy if this version of grpc-js keeps a map. */
export function valuesOf(metadata: grpc.Metadata): Iterable<Values[number]> {
  const { internalRepr } = metadata as unknown as { internalRepr?: ReadonlyMap<string, (string | Buffer)[]> }
  if (internalRepr instanceof Map) return internalRepr
  return Object.keys(metadata.getMap()).map((name) => [name, metadata.get(name)])
}

// Call credentials.

interface Credentials {
  readonly metadataGenerator?: MetadataGenerator
  readonly creds?: readonly grpc.CallCredentials[]
}

export type GeneratorOptions = Parameters<grpc.CallCredentials['generateMetadata']>[0]
/** What the user gave to `createFromMetadataGenerator`; it may be an async function. */
export type MetadataGenerator = (
  options: GeneratorOptions,
  done: (error: unknown, metadata?: grpc.Metadata) => void,
) => unknown

/** The parts of composed credentials, in order. */
export function partsOf(credentials: grpc.CallCredentials): readonly grpc.CallCredentials[] {
  const { creds } = credentials as Credentials
  return Array.isArray(creds) ? creds.flatMap(partsOf) : [credentials]
}

/** `undefined` if the credentials come from elsewhere. */
export function generatorOf(credentials: grpc.CallCredentials): MetadataGenerator | undefined {
  const { metadataGenerator } = credentials as Credentials
  return typeof metadataGenerator === 'function' ? metadataGenerator : undefined
}

// Interceptors.

/** The code of an interceptor that `InterceptingCall` and `InterceptingListenerImpl` keep. */
export interface InterceptorParts {
  requester?: Record<string, unknown>
  listener?: Record<string, unknown>
}

// Texts of statuses that grpc-js itself made.

/** A message could not be read. */
export const UNREADABLE =
  /^(?:Received message (?:larger than max|compressed with|that decompresses)|Failed to decompress|Received compressed)/
/** The connection broke below the stream. Its session may be destroyed a moment later. */
export const LOST = /^(?:Connection dropped|Keepalive timeout)/
/** The peer reset the stream with CANCEL. */
export const CANCELLED_BY_PEER = /^(?:Call cancelled$|Write error: )/

const BEFORE_ERROR = 'Last error: '
const AFTER_ERROR = ' Resolution note:'

/** The error that a balancer of grpc-js wrapped in its own words. */
export function lastError(details: string): string {
  const begin = details.indexOf(BEFORE_ERROR)
  const end = details.indexOf(AFTER_ERROR, begin)
  if (begin < 0 || end < 0) return details
  const error = details.slice(begin + BEFORE_ERROR.length, end).replace(/^Error: /, '')
  if (error === '' || /^null\b/.test(error)) return details
  return error.length > 1 && error.endsWith('.') ? error.slice(0, -1) : error
}
