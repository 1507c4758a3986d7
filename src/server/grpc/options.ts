/** Options of a gRPC server. Message sizes and windows are options of the grpc-js `Server`. */
import { type Duration, formatDuration } from '../../options/duration.ts'
import { check, fields, oneOf, optional, type Parsed, text, withDefault } from '../../options/fields.ts'
import { duration, integer } from '../../options/quantities.ts'
import { FAULTS, type FaultRuleOptions } from '../../resilience/fault-injection.ts'
import type { ServerMode } from '../mode.ts'
import { ORCA_AUDIENCE, type OrcaAudience } from '../orca-audience.ts'

export interface GrpcServerOptions {
  /** 0: any free port. @defaultValue 0 */
  readonly port?: number
  /**
   * The address to listen on. @defaultValue `'127.0.0.1'` (`joinMesh` passes `'0.0.0.0'` outside
   * development)
   */
  readonly host?: string
  /**
   * Who may connect. `strict`: members of the mesh, by their certificate; `permissive`: callers in
   * plaintext, too, who have no identity; `plaintext`: no TLS at all. @defaultValue `'strict'`
   */
  readonly mode?: ServerMode
  /**
   * How long a new connection may take to send its SETTINGS. A connection with a possibly partial
   * head is pinged after this time, and closed after as long again if no call is in flight on it.
   * @defaultValue `'5s'`
   */
  readonly headersTimeout?: Duration
  /**
   * The period after a certificate rotation over which connections with the previous certificate
   * are asked to leave (GOAWAY). @defaultValue `'10s'`
   */
  readonly rotationGrace?: Duration
  /**
   * How long streams may continue on a connection that was asked to leave, before it is closed.
   * @defaultValue `'5m'`
   */
  readonly streamGrace?: Duration
  /**
   * A connection is pinged when no complete frame has arrived for this time, and closed if it does
   * not acknowledge the PING within as long again. @defaultValue `'20s'`
   */
  readonly keepalive?: Duration
  /** Connections over this number are closed at once. @defaultValue no limit */
  readonly maxConnections?: number
  /**
   * Which foreign callers get a load report of ORCA with each answer: `'peers'`, those with a
   * verified certificate; `'all'`; or `false`, none. @defaultValue `'peers'`
   */
  readonly orca?: OrcaAudience
  /** Injected faults, before those of the service's policy document. @defaultValue none */
  readonly faults?: readonly FaultRuleOptions[]
}

export const GRPC_SERVER_FIELDS = fields({
  port: withDefault(integer({ min: 0, max: 65_535 }), 0),
  host: withDefault(text('an IP address or a host name', /^[A-Za-z0-9.:_-]+$/), '127.0.0.1'),
  mode: withDefault(oneOf(['strict', 'permissive', 'plaintext']), 'strict'),
  headersTimeout: withDefault(duration({ min: 100, max: 60_000 }), 5_000, formatDuration(5_000)),
  rotationGrace: withDefault(duration({ min: 0, max: 3_600_000 }), 10_000, formatDuration(10_000)),
  streamGrace: withDefault(duration({ min: 0, max: 86_400_000 }), 300_000, formatDuration(300_000)),
  keepalive: withDefault(duration({ min: 1_000, max: 3_600_000 }), 20_000, formatDuration(20_000)),
  maxConnections: optional(integer({ min: 1, max: 1_000_000 })),
  orca: ORCA_AUDIENCE,
  faults: withDefault(FAULTS, Object.freeze([])),
})

export type GrpcServerSettings = Parsed<typeof GRPC_SERVER_FIELDS>

/** Validates and completes. @throws OptionsError naming each wrong field */
export function resolveGrpcServer(options?: GrpcServerOptions): GrpcServerSettings {
  return check(GRPC_SERVER_FIELDS, options, 'serveGrpc')
}
