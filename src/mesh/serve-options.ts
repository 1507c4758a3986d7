/** The options of `mesh.serve`, `mesh.serveGrpc` and `mesh.listen`, and what they become. */
import { HOST, METADATA } from '../discovery/instance-reader.ts'
import { LIMITS } from '../discovery/limits.ts'
import {
  type AnyField,
  check,
  fields,
  OptionsError,
  optional,
  type Parsed,
  text,
  withDefault,
} from '../options/fields.ts'
import { GRPC_SERVER_FIELDS, type GrpcServerOptions } from '../server/grpc/options.ts'
import { HTTP_SERVER_FIELDS, type HttpServerOptions } from '../server/http/options.ts'
import { TCP_SERVER_FIELDS, type TcpServerOptions } from '../server/tcp/options.ts'
import { assertObject, optionsGiven } from './given-options.ts'

/** Where clients find a server. */
interface AnnounceOptions {
  /**
   * Address at which clients call the server. @defaultValue the host listened on, or this
   * machine's first address
   */
  readonly advertise?: string
  /**
   * Registered besides the metadata of the process; at most 64 entries together.
   * @defaultValue none
   */
  readonly metadata?: Readonly<Record<string, string>>
}

/** How a handler is served in the mesh. */
export interface ServeOptions extends HttpServerOptions, AnnounceOptions {}

/** How a gRPC server is served in the mesh. */
export interface ServeGrpcOptions extends GrpcServerOptions, AnnounceOptions {}

/** How TCP connections are served in the mesh. */
export interface ListenOptions extends TcpServerOptions, AnnounceOptions {}

export interface ServeSettings<Options> {
  readonly server: Options
  readonly advertise: string | undefined
  /** With the process's own. */
  readonly metadata: Metadata
}

type Metadata = Readonly<Record<string, string>>

const ANNOUNCED = {
  advertise: optional(text('an IP address or a host name', HOST)),
  metadata: withDefault(METADATA, Object.freeze({})),
}
const SERVE = fields({ ...HTTP_SERVER_FIELDS.shape, ...ANNOUNCED })
const SERVE_GRPC = fields({ ...GRPC_SERVER_FIELDS.shape, ...ANNOUNCED })
const LISTEN = fields({ ...TCP_SERVER_FIELDS.shape, ...ANNOUNCED })

/**
 * With a `--dev` registry the default host is loopback, otherwise every address of the machine.
 *
 * @throws OptionsError naming each wrong field
 */
export function resolveServeOptions(
  options: ServeOptions = {},
  dev: boolean,
  processMetadata: Metadata = {},
): ServeSettings<HttpServerOptions> {
  return resolveServing(options, dev, 'mesh.serve', SERVE, processMetadata)
}

/** The same for gRPC. @throws OptionsError naming each wrong field */
export function resolveServeGrpcOptions(
  options: ServeGrpcOptions = {},
  dev: boolean,
  processMetadata: Metadata = {},
): ServeSettings<GrpcServerOptions> {
  return resolveServing(options, dev, 'mesh.serveGrpc', SERVE_GRPC, processMetadata)
}

/** The same for TCP. @throws OptionsError naming each wrong field */
export function resolveListenOptions(
  options: ListenOptions,
  dev: boolean,
  processMetadata: Metadata,
): ServeSettings<TcpServerOptions> {
  return resolveServing(options, dev, 'mesh.listen', LISTEN, processMetadata)
}

function resolveServing<Options extends { readonly host?: string }>(
  options: Options & AnnounceOptions,
  dev: boolean,
  what: string,
  description: AnyField<Parsed<typeof SERVE> | Parsed<typeof SERVE_GRPC> | Parsed<typeof LISTEN>> & {
    readonly shape: object
  },
  processMetadata: Metadata,
): ServeSettings<Options> {
  assertObject(options, what)
  const given = optionsGiven(options, description.shape) as unknown as typeof options
  const { advertise: _, metadata: __, ...server } = given
  const host = server.host ?? (dev ? '127.0.0.1' : '0.0.0.0')
  const checked = check(description, { ...given, host }, what)
  const metadata = { ...processMetadata, ...checked.metadata }
  const entries = Object.keys(metadata).length
  if (entries > LIMITS.metadataEntries) {
    const message = `expected at most ${LIMITS.metadataEntries} entries together with those of joinMesh, got ${entries}`
    throw new OptionsError(what, [{ path: ['metadata'], message }])
  }
  return { server: { ...server, host } as unknown as Options, advertise: checked.advertise, metadata }
}
