/** What a user may choose about an HTTP server, and why the defaults are tighter than Node's. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { LONGEST_TIMEOUT_MS } from '../../core/deadline.ts'
import { type Duration, formatDuration } from '../../options/duration.ts'
import { check, fields, instance, oneOf, optional, type Parsed, text, withDefault } from '../../options/fields.ts'
import { duration, integer } from '../../options/quantities.ts'
import { FAULTS, type FaultRuleOptions } from '../../resilience/fault-injection.ts'
import type { ServerMode } from '../mode.ts'

/**
 * Called for an authorized upgrade (WebSocket). The socket is the application's from then on; a
 * drain destroys it at its end.
 */
export type UpgradeListener = (request: IncomingMessage, socket: Duplex, head: Buffer) => unknown

export interface HttpServerOptions {
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
   * Until the whole head of a request is there, also of the first on a new connection.
   * @defaultValue `'5s'`
   */
  readonly headersTimeout?: Duration
  /**
   * Until the whole request is there. Long, because an upload may take its time: what bounds a slow
   * sender is the deadline, after which an unfinished request costs its connection. @defaultValue
   * `'5m'`, the longest deadline there is
   */
  readonly requestTimeout?: Duration
  /**
   * How long an idle connection is kept. Clients learn it from the `keep-alive` header.
   * @defaultValue `'65s'`
   */
  readonly keepAliveTimeout?: Duration
  /**
   * Over how long connections with the previous certificate are asked to leave after a rotation.
   * @defaultValue `'10s'`
   */
  readonly rotationGrace?: Duration
  /** More header lines are answered with 431. @defaultValue 128 */
  readonly maxHeaders?: number
  /** More connections are dropped at once. @defaultValue no limit */
  readonly maxConnections?: number
  /** Faults on purpose, before those of the service's document. @defaultValue none */
  readonly faults?: readonly FaultRuleOptions[]
  /** Without it, an upgrade is served as the ordinary request that it also is. */
  readonly onUpgrade?: UpgradeListener
}

export const HTTP_SERVER_FIELDS = fields({
  port: withDefault(integer({ min: 0, max: 65_535 }), 0),
  host: withDefault(text('an IP address or a host name', /^[A-Za-z0-9.:_-]+$/), '127.0.0.1'),
  mode: withDefault(oneOf(['strict', 'permissive', 'plaintext']), 'strict'),
  // Node's 60 s, looked at every 30 s, let 200 slow connections live for 89 s (faults-and-attacks
  // 0.12).
  headersTimeout: withDefault(duration({ min: 100, max: 60_000 }), 5_000, formatDuration(5_000)),
  requestTimeout: withDefault(
    duration({ min: 100, max: 3_600_000 }),
    LONGEST_TIMEOUT_MS,
    formatDuration(LONGEST_TIMEOUT_MS),
  ),
  // Longer than the 60 s of common load balancers, so that it is never the server that closes
  // first.
  keepAliveTimeout: withDefault(duration({ min: 100, max: 3_600_000 }), 65_000, formatDuration(65_000)),
  rotationGrace: withDefault(duration({ min: 0, max: 3_600_000 }), 10_000, formatDuration(10_000)),
  maxHeaders: withDefault(integer({ min: 16, max: 2_000 }), 128),
  maxConnections: optional(integer({ min: 1, max: 1_000_000 })),
  faults: withDefault(FAULTS, Object.freeze([])),
  onUpgrade: optional(
    instance<UpgradeListener>('a function (request, socket, head)', (value) => typeof value === 'function'),
  ),
})

export type HttpServerSettings = Parsed<typeof HTTP_SERVER_FIELDS>

/** Validates and completes. @throws OptionsError naming each wrong field */
export function resolveHttpServer(options?: HttpServerOptions): HttpServerSettings {
  return check(HTTP_SERVER_FIELDS, options, 'serve')
}
