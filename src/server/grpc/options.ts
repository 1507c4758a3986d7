/**
 * What a user may choose about a gRPC server. What concerns messages (sizes, windows) is said to
 * the `Server` itself.
 */
import { type Duration, formatDuration } from '../../options/duration.ts'
import { check, fields, oneOf, optional, type Parsed, text, withDefault } from '../../options/fields.ts'
import { duration, integer } from '../../options/quantities.ts'
import { FAULTS, type FaultRuleOptions } from '../../resilience/fault-injection.ts'
import type { ServerMode } from '../mode.ts'

export interface GrpcServerOptions {
  /** 0: any free port. @defaultValue 0 */
  readonly port?: number
  /**
   * The address to listen on. @defaultValue `'127.0.0.1'` (`joinMesh` passes `'0.0.0.0'` outside
   * development)
   */
  readonly host?: string
  /** @defaultValue `'strict'` */
  readonly mode?: ServerMode
  /**
   * Until a new connection has sent its SETTINGS. A connection that may be within a head is asked
   * for a sign of life after so long, and closed after as long again if no call is in progress on
   * it. @defaultValue `'5s'`
   */
  readonly headersTimeout?: Duration
  /**
   * Over how long connections with the previous certificate are asked to leave (GOAWAY) after a
   * rotation. @defaultValue `'10s'`
   */
  readonly rotationGrace?: Duration
  /**
   * How long streams may go on, on a connection that was asked to leave; then it is closed.
   * @defaultValue `'5m'`
   */
  readonly streamGrace?: Duration
  /**
   * A connection on which nothing came whole for so long is asked for a sign of life by a PING, and
   * closed if it has not acknowledged it after as long again. @defaultValue `'20s'`
   */
  readonly keepalive?: Duration
  /** More connections are dropped at once. @defaultValue no limit */
  readonly maxConnections?: number
  /** Faults on purpose, before those of the service's document. @defaultValue none */
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
  faults: withDefault(FAULTS, Object.freeze([])),
})

export type GrpcServerSettings = Parsed<typeof GRPC_SERVER_FIELDS>

/** Validates and completes. @throws OptionsError naming each wrong field */
export function resolveGrpcServer(options?: GrpcServerOptions): GrpcServerSettings {
  return check(GRPC_SERVER_FIELDS, options, 'serveGrpc')
}
