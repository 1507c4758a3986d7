/** Options of an HTTP server. The defaults are tighter than Node's. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { LONGEST_TIMEOUT_MS } from '../../core/deadline.ts'
import { type Duration, formatDuration } from '../../options/duration.ts'
import { check, fields, instance, oneOf, optional, type Parsed, text, withDefault } from '../../options/fields.ts'
import { duration, integer } from '../../options/quantities.ts'
import { FAULTS, type FaultRuleOptions } from '../../resilience/fault-injection.ts'
import type { ServerMode } from '../mode.ts'
import { ORCA_AUDIENCE, type OrcaAudience } from '../orca-audience.ts'

/**
 * Called for an authorized upgrade, such as a WebSocket. The application then owns the socket; the
 * end of a drain destroys it.
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
  /**
   * Who may connect. `strict`: members of the mesh, by their certificate; `permissive`: callers in
   * plaintext, too, who have no identity; `plaintext`: no TLS at all. @defaultValue `'strict'`
   */
  readonly mode?: ServerMode
  /**
   * How long the head of a request may take to arrive, also of the first on a connection.
   * @defaultValue `'5s'`
   */
  readonly headersTimeout?: Duration
  /**
   * How long a whole request may take to arrive. It is long for uploads: the deadline bounds a slow
   * sender, and an unfinished request then loses its connection. @defaultValue `'5m'`, the longest
   * deadline
   */
  readonly requestTimeout?: Duration
  /**
   * How long an idle connection stays open. The `keep-alive` header tells clients.
   * @defaultValue `'65s'`
   */
  readonly keepAliveTimeout?: Duration
  /**
   * The period after a certificate rotation over which connections with the previous certificate
   * are asked to leave. @defaultValue `'10s'`
   */
  readonly rotationGrace?: Duration
  /** Requests with more header lines are answered with 431. @defaultValue 128 */
  readonly maxHeaders?: number
  /** Connections over this number are closed at once. @defaultValue no limit */
  readonly maxConnections?: number
  /**
   * Which foreign callers get a load report of ORCA with each answer: `'peers'`, those with a
   * verified certificate; `'all'`; or `false`, none. @defaultValue `'peers'`
   */
  readonly orca?: OrcaAudience
  /** Injected faults, before those of the service's policy document. @defaultValue none */
  readonly faults?: readonly FaultRuleOptions[]
  /**
   * Takes over connections that ask for an upgrade, as `upgrade` of a `node:http` server does.
   * @defaultValue none: an upgrade is served as an ordinary request
   */
  readonly onUpgrade?: UpgradeListener
}

export const HTTP_SERVER_FIELDS = fields({
  port: withDefault(integer({ min: 0, max: 65_535 }), 0),
  host: withDefault(text('an IP address or a host name', /^[A-Za-z0-9.:_-]+$/), '127.0.0.1'),
  mode: withDefault(oneOf(['strict', 'permissive', 'plaintext']), 'strict'),
  // Node's 60 s, checked every 30 s, let 200 slow connections live for 89 s.
  headersTimeout: withDefault(duration({ min: 100, max: 60_000 }), 5_000, formatDuration(5_000)),
  requestTimeout: withDefault(
    duration({ min: 100, max: 3_600_000 }),
    LONGEST_TIMEOUT_MS,
    formatDuration(LONGEST_TIMEOUT_MS),
  ),
  // Longer than the 60 s of common load balancers, so that the server never closes first.
  keepAliveTimeout: withDefault(duration({ min: 100, max: 3_600_000 }), 65_000, formatDuration(65_000)),
  rotationGrace: withDefault(duration({ min: 0, max: 3_600_000 }), 10_000, formatDuration(10_000)),
  maxHeaders: withDefault(integer({ min: 16, max: 2_000 }), 128),
  maxConnections: optional(integer({ min: 1, max: 1_000_000 })),
  orca: ORCA_AUDIENCE,
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
